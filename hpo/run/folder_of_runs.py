"""The folder that holds runs, and the commands on it that messages name."""

from __future__ import annotations

from pathlib import Path

from hpo.core.text import shell_word

DEFAULT_OUT = "runs"


def command_below(out: Path, *words: str) -> str:
    """A command on a folder of runs, to be copied into a shell; the usual one is not named."""
    where = [] if out == Path(DEFAULT_OUT) else ["--out", shell_word(out)]
    return " ".join(["hpo", *words, *where])
