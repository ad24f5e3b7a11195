"""Reads tensors and plain containers from pickled weight files without running code.

`torch.load(weights_only=True)` refuses a file as soon as one foreign object (a configuration, an
enum) lies beside the tensors, as it does in the published trainer's checkpoints. Here such objects
become inert markers whose names are reported. Not a sandbox for foreign classes: they are never
imported, built or called. Stand-ins given to torch as safe globals cannot do it: torch still
refuses objects that are lists or mappings of a foreign class, and files of pickle protocol 4.
"""

import codecs
import io
import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch

# fmt: off
_ALARMING_MODULES = frozenset({
    "os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "importlib", "runpy", "pty",
    "ctypes", "code", "marshal", "webbrowser", "pickle", "_pickle", "multiprocessing", "asyncio",
    "urllib", "http", "tempfile",
})
"""No weight file has a reason to name these; one that does is refused whole."""

_ALARMING_BUILTINS = frozenset({
    "eval", "exec", "compile", "open", "__import__", "setattr", "delattr", "globals",
    "locals", "vars", "input", "breakpoint",
})
# fmt: on


class CodeInFileError(pickle.UnpicklingError):
    """The file names a function that only code meant to run on opening would name."""


class Dropped:
    """Stands where the file had an object that is neither tensor nor plain container."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<dropped {self.name}>"

    def __setitem__(self, _key: object, _value: object) -> None:
        """Take and forget what the file would put into a mapping."""

    def append(self, _item: object) -> None:
        """Take and forget what the file would put into a list."""

    extend = append
    update = append
    add = append


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_rest: object) -> torch.Tensor:
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError("a tensor without a storage")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    length = storage._untyped_storage.nbytes() // storage.dtype.itemsize
    if all(size) and not 0 <= offset <= last < length:
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    rebuild: Callable[..., torch.Tensor] = torch._utils._rebuild_tensor
    return rebuild(storage, offset, tuple(size), tuple(stride))


def _parameter(data: torch.Tensor, *_rest: object) -> torch.Tensor:
    return data


def _latin_bytes(text: str, encoding: str = "latin1") -> bytes:
    if codecs.lookup(encoding).name != "iso8859-1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding}")
    return text.encode("latin1")


def _mapping(*args: Any) -> dict[Any, Any]:
    # A defaultdict's first argument is its factory, which is never called here.
    pairs = args[-1] if args and isinstance(args[-1], list | dict) else ()
    return dict(pairs)


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch", "Size"): tuple,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): _mapping,
    ("collections", "Counter"): _mapping,
    ("_codecs", "encode"): _latin_bytes,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
    ("builtins", "tuple"): tuple,
}
"""All that a file can have called; everything else becomes a `Dropped`."""


class RestrictedUnpickler(pickle._Unpickler):
    """Python's own unpickler with every opcode that could call or build something replaced.

    Subclass it per file: `found` is the set that receives the names of dropped objects.
    """

    found: set[str]
    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """Give the allowed stand-in for a global, or a `Dropped`; import nothing."""
        # Files of torch.save spell Python 3's modules in Python 2's names (`__builtin__`).
        module, name = NAME_MAPPING.get((module, name), (module, name))
        module = IMPORT_MAPPING.get(module, module)
        allowed = ALLOWED.get((module, name))
        if allowed is not None:
            return allowed
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        full = f"{module}.{name}"
        if full == "builtins.getattr":  # how Python before 3.11.4 writes members of an enum
            return Dropped(full)
        alarming = module.split(".", maxsplit=1)[0] in _ALARMING_MODULES
        if alarming or (module == "builtins" and name in _ALARMING_BUILTINS):
            raise CodeInFileError(full)
        self.found.add(full)
        return Dropped(full)

    def _call(self, function: Any, args: Any, kwargs: Any = None) -> Any:
        if isinstance(function, Dropped):
            return function
        # Compared by identity: a value from the file must not pass for one through `__eq__`.
        if not any(function is allowed for allowed in ALLOWED.values()):
            raise pickle.UnpicklingError("a call of something that is not a function")
        if kwargs or not isinstance(args, tuple):
            raise pickle.UnpicklingError("a call with unusual arguments")
        return function(*args)

    def _reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def _new_with_keywords(self) -> None:
        kwargs = self.stack.pop()
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args, kwargs)

    def _build(self) -> None:
        # State of containers (a state_dict's version marks) and of dropped objects is not needed.
        self.stack.pop()
        if isinstance(self.stack[-1], torch.Tensor):
            raise pickle.UnpicklingError("a tensor in the format of torch before 0.4")

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("an instruction that no weight file needs")

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.NEWOBJ[0]] = _reduce
    dispatch[pickle.NEWOBJ_EX[0]] = _new_with_keywords
    dispatch[pickle.BUILD[0]] = _build
    for _opcode in (pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4):
        dispatch[_opcode[0]] = _refuse


def load_restricted(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Read a file of `torch.save` without running anything in it.

    Returns:
        The content, and the sorted full names of the objects that were dropped.

    Raises:
        CodeInFileError: The file names a function that runs code.
        pickle.UnpicklingError: It needs more than this reader does, or is a TorchScript archive.
    """
    found: set[str] = set()
    reader = type("FileUnpickler", (RestrictedUnpickler,), {"found": found})

    def load(file: Any, **options: Any) -> Any:
        return reader(file, **options).load()

    module = SimpleNamespace(__name__=__name__, Unpickler=reader, load=load)
    try:
        # Every opcode that could run code is replaced in the reader that torch is handed here.
        content = torch.load(
            _source(path), map_location="cpu", weights_only=False, pickle_module=module
        )
    except pickle.UnpicklingError:
        raise
    except Exception as e:
        # A tampered file can make torch's own reader fail in any way.
        raise pickle.UnpicklingError(f"damaged ({type(e).__name__}: {e})") from e
    return content, tuple(sorted(found))


def _source(path: Path) -> str | io.BytesIO:
    """Give what keeps torch from opening the file by other means than the reader."""
    if not zipfile.is_zipfile(path):
        # From memory torch does not try its oldest format, which unpacks a tar file.
        return io.BytesIO(path.read_bytes())
    # Asked of torch's own zip reader, whose answer is the one that decides inside `torch.load`.
    if "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
        raise pickle.UnpicklingError("a TorchScript archive; save the state_dict() instead")
    return str(path)
