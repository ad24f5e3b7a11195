"""Writes a trial's spec in the format of its action, and the whole command of a platform's job."""

from __future__ import annotations

import contextlib
import json
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hpo.core.errors import SpecError
from hpo.core.own_folder import is_own
from hpo.core.spec_dicts import flatten
from hpo.core.yaml_io import read_yaml, to_yaml
from hpo.study.skill import Skill

_FORMATS = ("json", "yaml", "toml")
_END = "HPO_SPEC_END"
_CONFIG_PATH = "{config_path}"
"""Stands in a command for the file of its spec."""


def check_format(name: str, where: str) -> str:
    """The name of a format, as it is written.

    Raises:
        SpecError: for another.
    """
    word = str(name).strip().lower()
    word = "yaml" if word == "yml" else word
    if word not in _FORMATS:
        raise SpecError(f"{where}: must be one of {', '.join(_FORMATS)}, got {name!r}")
    return word


def format_of(skill: Skill, action: str, usual: str) -> str:
    """The format of an action's spec file; the usual one where the skill names none."""
    form = skill.action(action).get("config_format") or usual
    return check_format(form, f"{skill.path}: actions.{action}.config_format")


def demand_config_path(text: str, where: str) -> None:
    """Refuse a command that is never told where its spec lies: it would run without its values.

    Args:
        text: the command, or the words behind a script.
        where: what it is, as `<skill folder>: actions.train.command`.

    Raises:
        SpecError: where it does not hold `{config_path}`.
    """
    if _CONFIG_PATH not in text:
        raise SpecError(
            f"{where}: must hold {_CONFIG_PATH}, the file with the values to run with, got "
            f"{text!r}; add it where the program takes its configuration, as in "
            f"`python train.py -e {_CONFIG_PATH}`"
        )


def demand_command(skill: Skill, action: str) -> None:
    """Refuse a skill whose command for an action is none, or cannot know its spec.

    Raises:
        SpecError: naming the entry.
    """
    demand_config_path(skill.command(action), f"{skill.path}: actions.{action}.command")


def filled(words: Iterable[str], **values: str) -> list[str]:
    """The words of a command with `{name}` replaced by the value of that name."""

    def fill(word: str) -> str:
        for name, value in values.items():
            word = word.replace(f"{{{name}}}", value)
        return word

    return [fill(word) for word in words]


def render_spec(spec: Mapping[str, Any], form: str) -> str:
    """A spec as the text of a file.

    Args:
        spec: nested.
        form: `json`, `yaml` or `toml`.

    Raises:
        SpecError: when TOML is to hold a null, naming where.
    """
    if form == "json":
        return json.dumps(spec, indent=1) + "\n"
    if form == "yaml":
        return to_yaml(dict(spec))
    import tomli_w

    empty = [name for name, value in flatten(spec).items() if _holds_null(value)]
    if empty:
        raise SpecError(
            f"config_format: toml cannot hold null, which {', '.join(empty)} is; give a value, or "
            "another config_format in skill_info.yaml"
        )
    return tomli_w.dumps(dict(spec))


def read_spec(file: Path) -> dict[str, Any]:
    """Read a spec file that `render_spec` wrote; its ending tells the format."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".toml":
        return tomllib.loads(text)
    data = json.loads(text) if file.suffix == ".json" else read_yaml(file)
    return dict(data)


def _holds_null(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_null(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_null(inner) for inner in value)
    return value is None


def _folder_of(name: str) -> str:
    return f"/tmp/hpo-{name}"  # noqa: S108 - the job's container has it, or this machine


def remove_written(name: str) -> None:
    """Remove what the command of a job has written, where it ran on this machine."""
    folder = Path(_folder_of(name))
    if is_own(folder):
        with contextlib.suppress(OSError):
            for form in _FORMATS:
                (folder / f"spec.{form}").unlink(missing_ok=True)
            folder.rmdir()


def whole_command(template: str, spec: Mapping[str, Any], form: str, name: str) -> str:
    """A shell command that writes its own spec file, then runs the action on it.

    Args:
        template: of the skill, such as `ml_recog train -e {config_path}`.
        spec: of this trial, nested.
        form: of the spec file.
        name: of the job; its folder for temporary files is called so.

    Raises:
        SpecError: when the spec cannot be written in this format.
    """
    folder = _folder_of(name)
    file = f"{folder}/spec.{form}"
    text = render_spec(spec, form)
    end = _END
    while end in text:
        end += "_"
    command = template.replace(_CONFIG_PATH, shlex.quote(file))
    place = shlex.quote(folder)
    said = shlex.quote(f"{folder}: must be a folder of yours, and is a link or another user's")
    # Another user of the machine may have put something there, as its name can be guessed.
    return (
        f"mkdir -p -m 700 {place}; [ -O {place} ] && [ ! -h {place} ] || "
        f"{{ echo {said} >&2; exit 1; }}; "
        f"cat > {shlex.quote(file)} <<\\{end}\n{text.rstrip(chr(10))}\n{end}\n{command}"
    )
