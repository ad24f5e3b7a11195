"""Validates `trials_per_gpu`."""

from __future__ import annotations

from collections.abc import Mapping

from hpo.core.errors import SpecError

AUTO = "auto"


def check_sharing(value: int | str | None, concurrent: int | None, where: str) -> int | str | None:
    """Return `auto`, a number from 1, or None; text from a command line is read as either.

    Raises:
        SpecError: for anything else, or where the number of trials at a time is given too.
    """
    if value is None or value == "":
        return None
    text = str(value).strip()
    if text != AUTO and not (text.isdecimal() and int(text) >= 1):
        raise SpecError(f"{where}: must be {AUTO} or a number from 1, got {value!r}")
    if concurrent is not None:
        raise SpecError(
            f"{where}: cannot stand beside `concurrent` ({concurrent}), which says how many trials "
            "run at a time too; give one of them"
        )
    return text if text == AUTO else int(text)


def refuse_several(asked: Mapping[str, int | str | None]) -> None:
    """Refuse what asks for several trials at a time where one process trains one.

    Raises:
        SpecError: naming the first of them.
    """
    for where, value in asked.items():
        if value == AUTO or (isinstance(value, int) and value > 1):
            raise SpecError(
                f"{where}: must be 1 where this process trains the trials (--in-process, "
                f"executor='inprocess'), got {value}; leave one of the two out"
            )
