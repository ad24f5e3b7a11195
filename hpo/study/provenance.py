"""Records the space, data, weights and code a search began with, and finds later changes.

Kept in the run directory, without any absolute path, so that a run can be moved with its data.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from hpo.core.durable_files import write_atomically
from hpo.core.errors import SpecError
from hpo.core.event_json import from_dict
from hpo.core.installed import installed_versions
from hpo.core.list_reader import ListReader
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import value_at
from hpo.core.yaml_io import read_yaml
from hpo.run.run_dir import SPEC_FILE, RunDir
from hpo.study.start_files import describe_start_files

if TYPE_CHECKING:
    from hpo.study.spec import StudySpec
    from search_spaces import SearchSpace

ORIGIN_FILE = "origin.json"
_MATTERING = ("optuna", "torch", "pytorch-lightning", "pytorch-metric-learning", "timm")
"""Packages whose version changes what is proposed or trained."""
MOST_SAMPLES, SAMPLE_BYTES = 32, 1 << 16
"""So much of a source's contents is read; of the other files name and size count."""
MOST_NAMED = 3
_FIXED = "fixed to "
"""Begins what is kept of a value that the space pins."""

NO_FILES = "0 files"
"""How the description of a place begins at which there is nothing."""

Origin = dict[str, dict[str, str]]
"""`space`, `data`, `files`, `code` -> name -> what it is, in words or as a digest."""


@dataclass(frozen=True)
class _Kept:
    origin: Origin


def take_origin(
    space: SearchSpace, sources: Mapping[str, str], base_spec: Mapping[str, Any], trainer: Trainer
) -> Origin:
    """Describe what a search of this space, from these sources and this spec, depends on."""
    versions = installed_versions()
    return {
        "space": {p["name"]: _range_of(p) for p in space.to_json()["parameters"]}
        | {pin.name: f"{_FIXED}{pin.value}" for pin in space.pinned},
        "data": {name: describe_source(place, trainer) for name, place in sorted(sources.items())},
        "files": describe_start_files(base_spec, trainer),
        "code": {name: _digest(path.read_bytes()) for name, path in sorted(_code_of(trainer))}
        | {name: versions[name] for name in _MATTERING if name in versions},
    }


def write_origin(folder: Path, origin: Origin) -> None:
    """Keep it in a run directory."""
    write_atomically(folder / ORIGIN_FILE, json.dumps(origin, indent=1) + "\n")


def find_untrained(run: RunDir) -> dict[str, dict[str, Any]]:
    """Return fixed values that trials of a run were not trained with.

    Early versions passed fixed values, one-value options and collapsed ranges on to no trial.
    Trials are looked at in their order up to the first that has them all, so a sound run costs one
    file.

    Returns:
        name -> `{"fixed", "trained", "trials"}`: the value as text, the one found, and how many
        trials have that one.
    """
    fixed = {
        name: text.removeprefix(_FIXED)
        for name, text in read_origin(run).get("space", {}).items()
        if text.startswith(_FIXED)
    }
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(run.path.glob(f"trials/*/{SPEC_FILE}")) if fixed else ():
        spec = _readable(file)
        values = {name: value_at(spec, name) for name in fixed}
        others = {n: v for n, v in values.items() if v is not None and not _reads(fixed[n], v)}
        if not others:
            break
        for name, value in others.items():
            row = {"fixed": fixed[name], "trained": value, "trials": 0}
            found.setdefault(name, row)["trials"] += 1
    return found


def _readable(file: Path) -> dict[str, Any]:
    """A trial's spec; empty for a damaged one, which `hpo status` need not refuse."""
    try:
        spec = read_yaml(file)
    except SpecError:
        return {}
    return spec if isinstance(spec, dict) else {}


def _reads(text: str, value: Any) -> bool:
    """Whether a value was written as this text."""
    try:
        return text == str(value) or float(text) == float(value)
    except (TypeError, ValueError):
        return False


def read_origin(run: RunDir) -> Origin:
    """What a run began with; empty for a run of an early version, which has kept nothing."""
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads((run.path / ORIGIN_FILE).read_text(encoding="utf-8"))
        return from_dict(_Kept, {"origin": kept}).origin
    return {}


def find_changes(run: RunDir, now: Origin, sources: Mapping[str, str]) -> list[str]:
    """Say what is no longer as it was when the run began, one sentence per kind.

    A run of an earlier version, which has kept nothing, has no changes; of a list these kept what
    the file itself is, and of a folder all files.

    Args:
        run: the run.
        now: what `take_origin` finds.
        sources: the places that it was taken of.
    """
    before = read_origin(run)
    if not before:
        return []
    data = before.get("data", {})
    for name, place in sources.items():
        if data.get(name) not in (None, now["data"][name]) and data[name] == describe_source(place):
            data[name] = now["data"][name]
    before["code"] = _as_called_now(before.get("code", {}), now["code"])
    # A missing file is refused by what reads it; runs of earlier releases have no such facts.
    held = before.get("files", {}).items()
    before["files"] = {name: text for name, text in held if name in now["files"]}
    now = now | {"files": {name: now["files"][name] for name in before["files"]}}
    words = {
        "space": "the search space has", "data": "the data have", "code": "the code has",
        "files": "the files that training starts from have",
    }  # fmt: skip
    found = {kind: list(_differences(before.get(kind, {}), now[kind])) for kind in words}
    return [
        f"{words[kind]} changed since the search began ({_shortened(lines)})"
        for kind, lines in found.items()
        if lines
    ]


def describe_source(address: str, trainer: Trainer | ListReader | None = None) -> str:
    """Number, size and digest of the files at an address; of one elsewhere the address alone.

    The files are the pictures that its trainer reads there, if it tells which: those that a list
    names, and none of what file managers leave in a folder.
    """
    if "://" in address:
        return address
    root = Path(address)
    if isinstance(trainer, ListReader) and (listed := trainer.listed_files(address)):
        pictures = ((name, Path(file)) for name, file in sorted(listed.items()))
        files = [(name, path) for name, path in pictures if path.is_file()]
    else:
        files = sorted(_files_below(root)) if root.is_dir() else [("", root)] * root.is_file()
    sizes = {name: path.stat().st_size for name, path in files}
    digest = hashlib.sha256(json.dumps(sizes).encode())
    for _, path in files[:: max(1, len(files) // MOST_SAMPLES)]:
        digest.update(_beginning(path))
    return f"{len(files)} files, {sum(sizes.values())} bytes, digest {digest.hexdigest()[:12]}"


def describe_written(study: StudySpec) -> dict[str, str]:
    """Size and time of each file here that a study names for its pictures, such as a list.

    Both are of the disk that holds it, whose clock need not be this machine's.
    """
    found = {}
    for place in {study.data.folder, *study.data.splits.values()} - {""}:
        with contextlib.suppress(OSError):
            facts = Path(place).stat()
            if S_ISREG(facts.st_mode):
                found[place] = f"{facts.st_size} bytes, {facts.st_mtime_ns} ns"
    return dict(sorted(found.items()))


def _beginning(path: Path) -> bytes:
    """The first bytes of a file; the error number where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(SAMPLE_BYTES)
    except OSError as error:
        return f"unreadable: {error.errno}".encode()


def _files_below(root: Path) -> Iterator[tuple[str, Path]]:
    """Files below a folder, through links as a trainer reads them; no folder twice on one way."""
    seen = set()
    for folder, names, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        for name in files:
            path = Path(folder) / name
            if not name.startswith(".") and path.is_file():
                yield str(path.relative_to(root)), path


def _code_of(trainer: Trainer) -> Iterator[tuple[str, Path]]:
    """Sources of what trains and of what proposes."""
    name = type(trainer).__module__
    package = sys.modules[name.partition(".")[0]]
    file = getattr(sys.modules[name], "__file__", None)
    if package.__name__ == "hpo":  # a foreign command, of which the skill folder is all we know
        yield from _below(Path(trainer.skill_dir), "*.json", "*.yaml")
    elif getattr(package, "__path__", None) and getattr(package, "__file__", None):
        yield from _below(Path(str(package.__file__)).parent, "*.py")
    elif file:
        yield f"{name}.py", Path(file)
    yield from _below(Path(__file__).parents[1] / "algorithms", "*.py")


def _below(folder: Path, *patterns: str) -> Iterator[tuple[str, Path]]:
    for pattern in patterns:
        for path in folder.rglob(pattern):
            yield str(path.relative_to(folder.parent)), path


def _range_of(parameter: Mapping[str, Any]) -> str:
    """One parameter's range for people, and its condition."""
    facts = dict(parameter["distribution"])
    low, high, scale = facts.get("low"), facts.get("high"), facts.get("scale")
    text = f"{low}..{high} {scale}" if {"low", "high", "scale"} <= facts.keys() else None
    shown = text or json.dumps(facts, sort_keys=True, default=str)
    return f"{shown} if {parameter['condition']}" if parameter.get("condition") else shown


def _as_called_now(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Digests by their names in a skill folder that was renamed: it is the same code there."""
    old, new = ({name.partition("/")[0] for name in code if "/" in name} for code in (before, now))
    gone, come = old - new, new - old
    if len(gone) != 1 or len(come) != 1:
        return dict(before)
    (one,), (other,) = gone, come
    return {
        other + name.removeprefix(one) if name.startswith(f"{one}/") else name: digest
        for name, digest in before.items()
    }


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name, "absent"), now.get(name, "absent")
        if old != new:
            yield f"{name}: was {old}, is {new}"


def _shortened(lines: list[str]) -> str:
    more = f"; and {len(lines) - MOST_NAMED} more" if len(lines) > MOST_NAMED else ""
    return "; ".join(lines[:MOST_NAMED]) + more


def _digest(content: bytes) -> str:
    return f"digest {hashlib.sha256(content).hexdigest()[:12]}"
