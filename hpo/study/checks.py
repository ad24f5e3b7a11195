"""Checks a study's values, from its file or from flags."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

from hpo.core.errors import SpecError
from hpo.core.text import is_number, quoted
from hpo.study.model_limits import parse_limits
from hpo.study.sections import LAST, DataSources, SearchOptions

LARGEST_SEED = 2**32 - 1
"""What numpy, torch and Optuna all take."""
MOST_EPOCHS = 10**9
MOST_CONCURRENT = 10_000
_MOST_CONFIRMED = 1_000
LONGEST_NAME = 200
"""Bytes; file systems take 255, and a timestamp or a draft's letters may stand beside it."""

WHOLE = ("train", "reference", "query")
"""Splits that a search needs."""

Spelling = Callable[[str], str]


def check_search(search: SearchOptions, where: str, spell: Spelling = str) -> None:
    """Refuse numbers that no search can go by.

    Args:
        search: how trials are chosen.
        where: stands before the key in messages, such as `study.yaml: search.`.
        spell: turns a key into what the user wrote, such as `--until-converged`.
    """
    check_count(search.seed, where + spell("seed"), least=0, most=LARGEST_SEED)
    check_count(search.confirm, where + spell("confirm"), least=0, most=_MOST_CONFIRMED)
    minutes = search.until_converged
    if minutes is not None and not 0 <= minutes < math.inf:
        key = where + spell("until_converged")
        raise SpecError(f"{key}: must be a number of minutes, 0 or more, got {minutes:g}")
    if any(not name.removeprefix("+").strip() for name in search.over):
        raise SpecError(f"{where}{spell('over')}: must be a list of names, got an empty one in it")
    stages = (*search.earlier_stages, LAST)
    if search.stages and search.earlier_stages and search.stages != stages:
        raise SpecError(
            f"{where}{spell('stages')}: must be {', '.join(stages)} where earlier_stages holds "
            f"those before the last, got {', '.join(search.stages)}; leave one of the two out"
        )
    try:
        parse_limits(search.max_latency, search.max_params)
    except SpecError as error:
        key, _, rest = str(error).partition(":")
        raise SpecError(f"{where}{spell(key)}:{rest}") from error


def check_count(number: int | None, where: str, *, least: int, most: int = sys.maxsize) -> None:
    """Refuse a whole number outside its bounds (by default what a list can hold); None is none."""
    if number is not None and not least <= number <= most:
        bounds = f"at least {least}" if number < least else f"at most {most}"
        raise SpecError(f"{where}: must be {bounds}, got {quoted(number)}")


def read_epochs(value: object, where: str) -> int:
    """Return how many epochs a trial has; what is no such number is refused, not rounded."""
    if is_number(value) and 1 <= value <= MOST_EPOCHS and value % 1 == 0:
        return int(value)
    raise SpecError(f"{where}: must be a whole number from 1 to {MOST_EPOCHS}, got {quoted(value)}")


def check_name(name: str, where: str) -> None:
    """Refuse a study name that cannot be a folder below the folder of runs."""
    is_plain = name and not name.startswith(".") and name.isprintable() and "/" not in name
    if not is_plain or len(name.encode()) > LONGEST_NAME:
        raise SpecError(
            f"{where}: must be usable as a folder name (1 to {LONGEST_NAME} bytes, no '/', "
            f"no leading '.'), got {quoted(name)}"
        )


def check_sources(data: DataSources, where: str = "data", needed: Sequence[str] = WHOLE) -> None:
    """Refuse half-given data: all splits that are needed, or one folder, or nothing."""
    given = [name for name in data.splits if name in (needed or WHOLE)]
    missing = [name for name in needed if name not in given]
    together = f"{', '.join(needed[:-1])} and {needed[-1]}" if needed else ""
    if data.folder and data.splits:
        raise SpecError(f"{where}: give either one folder to split or the splits, not both")
    if given and missing:
        raise SpecError(
            f"{where}: {' and '.join(missing)} missing; {together} belong together "
            "(or give one folder of classes, or one list, with --data)"
        )
    if data.test_query and missing:
        raise SpecError(f"{where}: test_query needs {together} beside it")
    if data.test_reference and needed and not data.test_query:
        raise SpecError(f"{where}: test_reference needs test_query beside it")
    if data.class_disjoint and not data.folder:
        raise SpecError(f"{where}.class_disjoint: only applies when one folder is split (--data)")
    if data.group_by and not (data.folder or data.splits):
        raise SpecError(f"{where}.group_by: needs pictures of your own (--data, or --train ...)")
