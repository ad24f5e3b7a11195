"""The restricted reader against files made to run code, and against foreign objects."""

import collections
import io
import os
import pickle
import random
import subprocess
import sys
import tarfile
import types
import zipfile

import pytest
import torch

from trainer.errors import CheckpointError
from trainer.models.unpickle import ALLOWED, CodeInFileError, load_restricted
from trainer.models.weights import FULL_UNPICKLING, read_checkpoint, read_state_dict


@pytest.fixture
def foreign(monkeypatch):
    """A module whose classes can be pickled now; `vanish()` makes them impossible to import."""
    module = types.ModuleType("foreign_configs")
    source = """
import collections, dataclasses, enum
class Mode(enum.Enum):
    FAST = "fast"
@dataclasses.dataclass
class Config:
    name: str
    extra: dict
class Node(dict):
    pass
class Slotted:
    __slots__ = ("a",)
    def __getstate__(self): return (None, {"a": self.a})
    def __setstate__(self, state): self.a = state[1]["a"]
class Container:
    def __init__(self, items): self.items = items
    def __reduce__(self): return (Container, (self.items,), {"x": 1}, iter([1, 2]), iter([(1, 2)]))
    def append(self, x): pass
    def __setitem__(self, k, v): pass
def factory(): return []
calls = []
def record(*args): calls.append(args); return args
class Recorder:
    def __reduce__(self): return (record, ("called",))
"""
    exec(compile(source, "foreign_configs", "exec"), module.__dict__)  # noqa: S102  our own text
    monkeypatch.setitem(sys.modules, "foreign_configs", module)
    module.vanish = lambda: monkeypatch.delitem(sys.modules, "foreign_configs")
    return module


def weights():
    torch.manual_seed(0)
    base = torch.randn(6, 4)
    return collections.OrderedDict(
        whole=base, part=base[1:3, ::2], half=torch.randn(3).half(), count=torch.tensor(7)
    )


def lightning_like(foreign):
    slotted = foreign.Slotted()
    slotted.a = 1
    node = foreign.Node(a=1, b=foreign.Node(c=[1, 2]))
    return {
        "epoch": 3,
        "state_dict": weights(),
        "hyper_parameters": foreign.Config("x", {"mode": foreign.Mode.FAST, "node": node}),
        "callbacks": {"best": foreign.Container([slotted])},
        "counts": collections.defaultdict(foreign.factory, a=[1]),
        "mixed": [1, 2.5, "text", b"bytes", {3, 4}, (5, None, True), torch.Size([2, 3])],
        "dtype": torch.float16,
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


def assert_same_weights(state):
    expected = weights()
    assert list(state) == list(expected)
    for key, value in expected.items():
        assert state[key].dtype == value.dtype
        assert torch.equal(state[key], value)


@pytest.mark.parametrize("new_format", [True, False])
def test_tensors_and_plain_values_survive_among_objects_that_cannot_be_imported(
    tmp_path, foreign, caplog, new_format
):
    path = tmp_path / "model.pth"
    torch.save(lightning_like(foreign), path, _use_new_zipfile_serialization=new_format)
    foreign.vanish()
    content = read_checkpoint(path)
    assert_same_weights(content["state_dict"])
    assert content["epoch"] == 3
    assert content["mixed"] == [1, 2.5, "text", b"bytes", {3, 4}, (5, None, True), (2, 3)]
    assert content["counts"] == {"a": [1]}
    assert content["dtype"] is torch.float16
    assert torch.equal(content["parameter"], torch.ones(2))
    assert repr(content["hyper_parameters"]) == "<dropped foreign_configs.Config>"
    assert_same_weights(read_state_dict(path))
    assert "foreign_configs.Config" in caplog.text
    assert "foreign_configs" not in sys.modules


class _ByGetattr:
    """Written as Python before 3.11.4 writes a member of an enum."""

    def __init__(self, owner):
        self.owner = owner

    def __reduce__(self):
        return getattr, (self.owner, "FAST")


def test_members_of_an_enum_are_dropped_however_they_are_written(tmp_path, foreign):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": weights(), "mode": _ByGetattr(foreign.Mode)}, path)
    foreign.vanish()
    content, dropped = load_restricted(path)
    assert_same_weights(content["state_dict"])
    assert dropped == ("foreign_configs.Mode",)


def test_names_of_everything_dropped_are_told(tmp_path, foreign):
    path = tmp_path / "model.pth"
    torch.save(lightning_like(foreign), path)
    _, dropped = load_restricted(path)
    names = ("Config", "Container", "Mode", "Node", "Slotted", "factory")
    assert dropped == tuple(f"foreign_configs.{name}" for name in names)


def test_importable_functions_of_a_file_are_not_called(tmp_path, foreign):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": weights(), "more": foreign.Recorder()}, path)
    assert_same_weights(read_state_dict(path))
    assert foreign.calls == []
    with path.open("rb") as file:
        torch.load(file, weights_only=False)
    assert foreign.calls == [("called",)], "the file is one that would have called it"


class Shell:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


class Evaluated(Shell):
    def __reduce__(self):
        return (eval, (f"__import__('os').system({self.command!r})",))


class Spawned(Shell):
    def __reduce__(self):
        return (subprocess.check_call, (["touch", self.command.split()[-1]],))


@pytest.mark.parametrize("attack", [Shell, Evaluated, Spawned])
@pytest.mark.parametrize("new_format", [True, False])
def test_a_file_with_code_in_it_is_refused_and_the_code_does_not_run(
    tmp_path, monkeypatch, attack, new_format
):
    monkeypatch.delenv(FULL_UNPICKLING, raising=False)
    path, trace = tmp_path / "evil.pth", tmp_path / "was_here"
    content = {"state_dict": weights(), "config": attack(f"touch {trace}")}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=f"holds code .* set {FULL_UNPICKLING}=1") as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


def test_full_unpickling_runs_only_where_the_environment_asks_for_it(tmp_path, monkeypatch, caplog):
    path, trace = tmp_path / "trusted.pth", tmp_path / "was_here"
    torch.save({"state_dict": weights(), "config": Shell(f"touch {trace}")}, path)
    monkeypatch.setenv(FULL_UNPICKLING, "1")
    assert_same_weights(read_state_dict(path))
    assert trace.exists()
    assert "unpickled in full" in caplog.text


def test_the_environment_does_not_widen_what_the_restricted_reader_can_do(
    tmp_path, monkeypatch, foreign
):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": weights(), "more": foreign.Recorder()}, path)
    monkeypatch.setenv(FULL_UNPICKLING, "1")
    assert_same_weights(read_state_dict(path))
    assert foreign.calls == []


def zip_with(tmp_path, code, extra=()):
    """A file of torch.save whose pickle is replaced by hand-written instructions."""
    path = tmp_path / "crafted.pth"
    buffer = io.BytesIO()
    torch.save({"x": torch.ones(3)}, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            data = code if info.filename.endswith("data.pkl") else old.read(info)
            new.writestr(info.filename, data)
        for name in extra:
            new.writestr(f"archive/{name}", b"")
    return path


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


CRAFTED = {
    "old-style instance": b"(S'touch /tmp/x'\nios\nsystem\n.",
    "old-style object": b"(cos\nsystem\nS'true'\no.",
    "dotted path from an allowed module": b"\x80\x04"
    + text("torch")
    + text("os.system")
    + b"\x93("
    + text("true")
    + b"tR.",
    "attribute of an allowed module": b"ctorch.serialization\nos\n(S'x'\ntR.",
    "extension registry": b"\x80\x02\x82\x01.",
    "call of a string": b"\x80\x02" + text("os.system") + text("true") + b"\x85R.",
    "call of a list": b"\x80\x02]" + text("true") + b"\x85R.",
    "keywords to a constructor": b"\x80\x04ccollections\nOrderedDict\n)}"
    + text("a")
    + b"K\x01s\x92.",
    "storage from a name": b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR.",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_instructions_run_nothing(tmp_path, monkeypatch, name):
    monkeypatch.delenv(FULL_UNPICKLING, raising=False)

    def fail(*_args):
        raise AssertionError("code of the file ran")

    monkeypatch.setattr(os, "system", fail)
    monkeypatch.setattr("torch.storage._load_from_bytes", fail)
    path = zip_with(tmp_path, CRAFTED[name])
    with pytest.raises(CheckpointError):
        read_state_dict(path)


def test_a_builtin_for_evaluation_is_code_under_its_old_name_too(tmp_path):
    path = zip_with(tmp_path, b"c__builtin__\neval\n(S'1'\ntR.")
    with pytest.raises(CodeInFileError, match=r"builtins\.eval"):
        load_restricted(path)


def test_state_for_a_function_or_class_changes_nothing_in_this_process(tmp_path):
    before = torch._utils._rebuild_tensor_v2.__defaults__
    names = [("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")]
    state = b"N}" + text("__defaults__") + b"K\x01\x85s\x86b"
    code = b"\x80\x02" + b"".join(f"c{m}\n{n}\n".encode() + state + b"0" for m, n in names)
    content, dropped = load_restricted(zip_with(tmp_path, code + b"}."))
    assert (content, dropped) == ({}, ())
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before
    assert all(getattr(f, "__defaults__", None) != (1,) for f in ALLOWED.values())


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path):
    storage = (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x03tQ"
    )
    code = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage
    ends = {offset: b"K" + bytes([offset]) + b"K\x02\x85K\x01\x85\x89}tR." for offset in (1, 2)}
    content, _ = load_restricted(zip_with(tmp_path, code + ends[1]))
    assert torch.equal(content, torch.ones(2))
    with pytest.raises(pickle.UnpicklingError, match="beyond its storage"):
        load_restricted(zip_with(tmp_path, code + ends[2]))


def test_other_kinds_of_archive_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.delenv(FULL_UNPICKLING, raising=False)
    path = zip_with(tmp_path, b"}.", extra=["constants.pkl"])
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_state_dict(path)
    with pytest.raises(pickle.UnpicklingError, match="TorchScript"):
        load_restricted(path)
    with tarfile.open(tmp_path / "old.pth", "w") as tar:
        tar.add(path, arcname="storages")
    with pytest.raises(CheckpointError, match=r"old\.pth"):
        read_state_dict(tmp_path / "old.pth")
    with pytest.raises(pickle.UnpicklingError):
        load_restricted(tmp_path / "old.pth")


@pytest.mark.parametrize("new_format", [True, False])
def test_damaged_files_are_one_line_and_never_another_error(tmp_path, monkeypatch, new_format):
    monkeypatch.delenv(FULL_UNPICKLING, raising=False)
    good = tmp_path / "good.pth"
    torch.save({"state_dict": weights()}, good, _use_new_zipfile_serialization=new_format)
    data = good.read_bytes()
    draw = random.Random(5)
    bad = tmp_path / "bad.pth"
    messages = []
    for trial in range(150):
        broken = bytearray(data)
        if trial % 3 == 0:
            del broken[draw.randrange(len(data)) :]
        else:
            broken[draw.randrange(min(len(data), 700))] ^= 1 << draw.randrange(8)
        bad.write_bytes(broken)
        try:
            read_state_dict(bad)
        except CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)
