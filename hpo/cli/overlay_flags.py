"""Flags that change what is searched; `hpo search` and `hpo space` share them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hpo.cli.run_flags import add_repeatable
from hpo.core.errors import SpecError

if TYPE_CHECKING:
    from hpo.study.skill import Skill
    from search_spaces import Overlay

_QUOTED = re.compile(r"[\[\]{}\"']")
"""Signs of YAML by which a comma may stand within one of several values."""
Parse = Callable[[str, str], Any]
"""Reads YAML; the second word begins messages."""


_FLAGS = {
    "--search-over NAMES": "search these parameters instead of the default list, comma-separated; "
    "+NAME adds one to the default list (repeatable)",
    "--range NAME=LOW..HIGH[,log|,linear]": "search a number in this range, e.g. "
    "train.optim.trunk.base_lr=1e-5..1e-2,log (repeatable)",
    "--options NAME=A,B,C": "search a parameter over these values, e.g. "
    "train.batch_size=16,32,64 (repeatable)",
    "--fix NAME=VALUE": "keep a parameter at one value and out of the search (repeatable)",
}


def add_overlay_arguments(parser: argparse.ArgumentParser) -> None:
    """--search-over, --range, --options and --fix."""
    group = parser.add_argument_group("search space")
    for flag, text in _FLAGS.items():
        add_repeatable(group, flag, text)


def overlay_changes(
    args: argparse.Namespace, find_skill: Callable[[], Skill] | None = None
) -> dict[str, Any]:
    """Return what the flags say, by the names of `SearchOptions`.

    Args:
        args: with the flags.
        find_skill: finds what says which keys hold text; None takes values as YAML reads them.

    Raises:
        SpecError: when a flag is not of its form.
    """
    changes = {
        "over": _names(args.search_over),
        "ranges": _by_name("--range", map(_range, args.range)),
        "options": _table("--options", args.options, _choices, find_skill),
        "fix": _table("--fix", args.fix, _fixed, find_skill),
    }
    return {name: value for name, value in changes.items() if value}


def overlay_from_args(args: argparse.Namespace) -> Overlay:
    """Return the overlay that the flags alone describe.

    Raises:
        SpecError: when a flag is not of its form.
    """
    from hpo.study.checks import check_search
    from hpo.study.sections import SearchOptions
    from hpo.study.spec import StudySpec

    options = SearchOptions().updated(overlay_changes(args))
    check_search(options, "", lambda _: "--search-over")
    return StudySpec(search=options).overlay


def _names(texts: list[str]) -> tuple[str, ...]:
    names = [name.strip() for text in texts for name in text.split(",")]
    return tuple(dict.fromkeys(names))


def _split(flag: str, text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise SpecError(f"{flag} {text}: must be {form}")
    return name.strip(), value.strip()


def _range(text: str) -> tuple[str, Any]:
    form = "NAME=LOW..HIGH, with ,log or ,linear if wanted, e.g. train.optim.gamma=0.05..0.5,log"
    name, value = _split("--range", text, form)
    ends, _, scale = value.partition(",")
    low, dots, high = ends.partition("..")
    scales = {"": None, "log": True, "linear": False}
    try:
        pair = (_number(low), _number(high))
    except ValueError as error:
        raise SpecError(f"--range {text}: must be {form}") from error
    if not dots or scale.strip() not in scales:
        raise SpecError(f"--range {text}: must be {form}")
    log = scales[scale.strip()]
    return name, list(pair) if log is None else {"low": pair[0], "high": pair[1], "log": log}


def _by_name(flag: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A table of what a flag was given; a name with two values is refused."""
    from hpo.core.spec_dicts import refuse_two

    table: dict[str, Any] = {}
    for name, value in pairs:
        refuse_two(f"{flag} {name}", table.setdefault(name, value), value)
    return table


def _table(
    flag: str,
    words: list[str],
    read: Callable[[str, Parse], tuple[str, Any]],
    find_skill: Callable[[], Skill] | None,
) -> dict[str, Any]:
    """Values of flags by name; those of keys that hold text as they are written."""
    from hpo.core.yaml_io import parse_word, parse_word_text
    from hpo.study.text_values import with_texts

    values = _by_name(flag, (read(word, parse_word) for word in words))
    if find_skill is None:
        return values
    return with_texts(values, dict(read(word, parse_word_text) for word in words), find_skill)


def _choices(text: str, parse: Parse) -> tuple[str, list[Any]]:
    name, value = _split("--options", text, "NAME=A,B,C")
    words, where = value.split(","), f"--options {name}"
    if _QUOTED.search(value) or not all(map(str.strip, words)):
        values = parse(f"[{value}]", where)
        is_list = value.startswith("[") and len(values) == 1  # of values, not one that is a list
        return name, list(values[0] if is_list else values)
    return name, [parse(word, where) for word in words]


def _fixed(text: str, parse: Parse) -> tuple[str, Any]:
    name, value = _split("--fix", text, "NAME=VALUE")
    return name, parse(value, f"--fix {name}")


def _number(text: str) -> int | float:
    text = text.strip()
    try:
        return int(text)
    except ValueError:
        return float(text)
