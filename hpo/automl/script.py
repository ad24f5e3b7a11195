"""Actions that are Python scripts of the skill folder (`execution: {type: python_script}`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.automl.errors import AutoMLError, SkillFolderError
from hpo.core.text import nearest
from hpo.jobs.spec_formats import check_format, demand_config_path, filled

_PYTHON_SCRIPT = "python_script"
_DEFAULT_ARGS = ("--config", "{config_path}")
_KEYS = ("type", "script", "args", "script_args", "cwd", "config_format")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptExecution:
    """A script, its words and its working folder."""

    script: Path
    """Absolute."""
    cwd: Path
    """Absolute."""
    args: tuple[str, ...] = _DEFAULT_ARGS
    """Hold `{config_path}`, and may hold `{results_dir}` and `{job_id}`."""
    config_format: str = "yaml"

    def words(self, *, config_path: str, results_dir: str, job_id: str) -> list[str]:
        """The words behind the script, with the placeholders filled in."""
        return filled(self.args, config_path=config_path, results_dir=results_dir, job_id=job_id)


def read_execution(
    folder: Path, facts: Mapping[str, Any], given: Mapping[str, Any] | None = None
) -> ScriptExecution | None:
    """Read how an action is executed.

    Args:
        folder: the skill folder.
        facts: the action's entry in `skill_info.yaml`.
        given: what the caller passed in place of the entry's `execution`.

    Returns:
        None where it is a command in a container.

    Raises:
        AutoMLError: for a wrong key or value.
        SkillFolderError: when the script or its working folder is not there.
    """
    found = given if given is not None else facts.get("execution")
    if not found:
        return None
    where = "execution" if given is not None else f"{folder}: execution"
    if not isinstance(found, Mapping):
        raise AutoMLError(f"{where}: must be a mapping, got {found!r}")
    for key in found:
        if key not in _KEYS:
            raise AutoMLError(f"{where}.{key}: no such key{nearest(str(key), _KEYS)}")
    if found.get("type") != _PYTHON_SCRIPT:
        raise AutoMLError(f"{where}.type: must be {_PYTHON_SCRIPT}, got {found.get('type')!r}")
    form = str(found.get("config_format") or facts.get("config_format") or "yaml")
    return ScriptExecution(
        script=_inside(folder, found.get("script"), f"{where}.script", is_file=True),
        cwd=_inside(folder, found.get("cwd") or ".", f"{where}.cwd", is_file=False),
        args=_args(found, where),
        config_format=check_format(form, f"{where}.config_format"),
    )


def _inside(folder: Path, name: Any, where: str, *, is_file: bool) -> Path:
    if not isinstance(name, str) or not name:
        raise AutoMLError(f"{where}: must be a path below {folder}, got {name!r}")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise AutoMLError(f"{where}: must lie below {folder}, got {name!r}")
    if not (path.is_file() if is_file else path.is_dir()):
        raise SkillFolderError(f"{where}: {path}: no such {'file' if is_file else 'folder'}")
    return path


def _args(found: Mapping[str, Any], where: str) -> tuple[str, ...]:
    given = [found[key] for key in ("args", "script_args") if found.get(key) is not None]
    if len(given) > 1 and given[0] != given[1]:
        raise AutoMLError(f"{where}: args and script_args are the same; give one of them")
    words = given[0] if given else list(_DEFAULT_ARGS)
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise AutoMLError(f"{where}.args: must be a list of words, got {words!r}")
    demand_config_path(" ".join(words), f"{where}.args")
    return tuple(words)
