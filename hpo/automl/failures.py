"""Names the cause of a failed command or platform job."""

from __future__ import annotations

import contextlib
import re
import signal
from typing import Any

from hpo.core.text import uncoloured
from hpo.core.trial import FAILURE_KINDS
from hpo.core.trial_failures import NO_MEMORY

_CAUSES = (
    ("out_of_memory", (*NO_MEMORY, "outofmemoryerror", "oomkilled")),
    ("credential", ("credential", "unauthorized", "access denied", "403 forbidden")),
    ("image", ("imagepullbackoff", "errimagepull", "pull access denied", "manifest unknown")),
    ("diverged", ("loss is nan", "loss is not finite", "diverged")),
    ("data", ("no such file or directory", "filenotfounderror", "not a directory")),
    ("spec", ("configattributeerror", "configkeyerror", "unknown key", "unrecognized arguments")),
    ("infrastructure", ("nccl error", "connection reset", "no space left", "node failure",
                        "preempted", "its process never began", "is gone without a result")),
)  # fmt: skip
"""Cause -> what is said of it; the first that fits is taken."""

_KILLED = (-9, 137)
_OURS = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ hpo\.")
"""Begins a line that a search writes into a trial's log, on an earlier start of it for example."""


def explain_failure(log: str, exit_code: int | None) -> dict[str, str]:
    """Name the cause of a command's failure by the end of its log: `{"kind", "message"}`."""
    tail = [line.strip() for line in uncoloured(log).splitlines()[-60:] if line.strip()]
    tail = [line for line in tail if not _OURS.match(line)]
    kind = "infrastructure" if exit_code in _KILLED else _name_cause("\n".join(tail))
    told = [line for line in tail if _is_error(line)]
    last = (told or tail or ["it printed nothing"])[-1]
    return {"kind": kind, "message": f"the command {_how_it_ended(exit_code)}: {last}"[:500]}


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is None:
        return "was lost"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"


def explain_analysis(analysis: Any, log: str, status: str) -> dict[str, str]:
    """Read what a platform says of a failed job, else the end of its log.

    Args:
        analysis: what `get_failure_analysis` returned: text, or a mapping with a cause and a
            message under any of the usual names; None when it could not be asked.
        log: the job's log.
        status: the platform's own word for the job's end.
    """
    facts = analysis if isinstance(analysis, dict) else {}
    said = [facts[key] for key in ("message", "reason", "summary", "error") if facts.get(key)]
    text = str(said[0]) if said else (analysis if isinstance(analysis, str) else "")
    kind = str(facts.get("kind") or facts.get("category") or facts.get("cause") or "").lower()
    if not text:
        found = explain_failure(log, None)
        text = (
            found["message"].partition(": ")[2]
            if log.strip()
            else "the platform gives no further reason"
        )
    if kind not in FAILURE_KINDS:
        kind = _name_cause(f"{kind}\n{text}\n{log[-4000:]}")
    line = " ".join(uncoloured(text).split())
    return {"kind": kind, "message": f"the job ended as {status}: {line}"[:500]}


def _name_cause(text: str) -> str:
    """The first named cause that a text mentions; `code` where it mentions none."""
    plain = uncoloured(text).lower()
    return next((kind for kind, marks in _CAUSES if any(mark in plain for mark in marks)), "code")


def _is_error(line: str) -> bool:
    return any(mark in line.lower() for mark in ("error", "exception", "failed", "fatal"))
