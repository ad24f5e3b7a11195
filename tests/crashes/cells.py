"""The cells of the crash matrix: moments, faults, and which of them make no sense together."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Moment:
    """One moment of a transition: a hook, before or after it, with these facts."""

    transition: str
    moment: str
    hook: str
    when: str
    facts: dict = field(default_factory=dict)
    side: str = "driver"
    """Who passes it: `driver`, or `trainer` (in this process or in a worker)."""

    @property
    def name(self):
        return f"{self.transition}: {self.moment}"


TRIAL, FIRST_REPEAT = 2, 4
"""The trial that is hit, and the first run of the confirmation."""

MOMENTS = (
    Moment("suggest", "before", "ask", "before", {"number": TRIAL}),
    Moment("suggest", "after", "ask", "after", {"number": TRIAL}),
    Moment("launch", "booked, spec not written", "write_spec", "before", {"number": TRIAL}),
    Moment("launch", "training begins", "fit", "before", {"number": TRIAL}, "trainer"),
    Moment("first report", "checkpoint there, not told", "report", "before", {"number": TRIAL, "epoch": 1}, "trainer"),
    Moment("first report", "half written", "set_trial_intermediate_value", "before", {"number": TRIAL, "epoch": 1}),
    Moment("first report", "written, not answered", "on_epoch", "after", {"number": TRIAL, "epoch": 1}),
    Moment("checkpoint rename", "before", "rename last.ckpt", "before", {"number": 0, "epoch": 2}, "trainer"),
    Moment("checkpoint rename", "after the last, before the best", "rename last.ckpt", "after", {"number": 0, "epoch": 2}, "trainer"),
    Moment("tell", "before", "finish", "before", {"number": 1}),
    Moment("tell", "half written", "set_trial_state_values", "before", {"number": 1}),
    Moment("tell", "written, sampler not told", "finish", "after", {"number": 1}),
    Moment("confirmation", "before the first run", "start", "before", {"number": FIRST_REPEAT}),
    Moment("confirmation", "in a run", "rename last.ckpt", "before", {"number": FIRST_REPEAT, "epoch": 2}, "trainer"),
    Moment("confirmation", "chosen", "choose", "after"),
    Moment("export", "before", "export", "before", {}, "trainer"),
    Moment("export", "written, not in place", "export", "after", {}, "trainer"),
    Moment("hand-off", "model in place, report not", "write_json", "before", {"name": "report.json"}),
    Moment("hand-off", "report there, end not told", "close_as", "before", {"status": "finished"}),
    Moment("hand-off", "all written", "close_as", "after", {"status": "finished"}),
)  # fmt: skip

STAGED_MOMENTS = (
    Moment("stages", "a batch half written", "start", "after", {"number": 2}),
    Moment("stages", "a batch begins", "fit", "before", {"number": 1}, "trainer"),
    Moment("stages", "in a batch", "report", "before", {"number": 5, "epoch": 2}, "trainer"),
    Moment("stages", "in a batch, one told", "on_epoch", "after", {"number": 1, "epoch": 2}),
    Moment("stages", "a batch half told", "finish", "before", {"number": 5}),
    Moment("stages", "between heads and whole", "ask", "before", {"number": 7}),
    Moment("stages", "in a whole training", "report", "before", {"number": 7, "epoch": 2}, "trainer"),
)  # fmt: skip
"""Trial 0 is trained whole, 1 to 3 and 4 to 6 are batches of heads, whole trainings follow."""

IN_PROCESS = (
    "driver SIGKILL", "SIGTERM", "Ctrl-C", "Ctrl-C twice", "disk full", "ledger full", "read-only",
    "out of memory", "clock +1 day", "clock -1 day",
)  # fmt: skip
WITH_MLFLOW = ("MLflow gone",)
WITH_RAY = ("worker SIGKILL",)


def no_sense(moment, fault):
    """Why a cell makes no sense; empty when it does."""
    if fault == "out of memory" and moment.side != "trainer":
        return "only the trainer holds a model"
    is_late = moment.transition == "hand-off" or moment.hook == "choose"
    if fault == "worker SIGKILL" and is_late:
        return "no worker is left"
    return ""


SHORT = (
    ("first report: half written", "driver SIGKILL"),
    ("tell: half written", "driver SIGKILL"),
    ("confirmation: in a run", "driver SIGKILL"),
    ("export: written, not in place", "driver SIGKILL"),
    ("tell: before", "Ctrl-C twice"),
    ("launch: training begins", "disk full"),
    ("launch: booked, spec not written", "read-only"),
    ("launch: training begins", "out of memory"),
)
"""The sample that the suite runs."""
SHORT_STAGED = (
    ("stages: a batch half told", "driver SIGKILL"),
    ("stages: in a whole training", "driver SIGKILL"),
)
"""Of a search in stages, what the suite runs; `STAGED` is all."""
STAGED = (
    *((moment.name, "driver SIGKILL") for moment in STAGED_MOMENTS),
    ("stages: in a batch, one told", "Ctrl-C"),
    ("stages: in a batch", "SIGTERM"),
)
REAL = (
    ("launch: training begins", "driver SIGKILL"),
    ("first report: checkpoint there, not told", "driver SIGKILL"),
    ("first report: half written", "driver SIGKILL"),
    ("checkpoint rename: before", "driver SIGKILL"),
    ("checkpoint rename: after the last, before the best", "driver SIGKILL"),
    ("tell: half written", "driver SIGKILL"),
    ("confirmation: in a run", "driver SIGKILL"),
    ("export: written, not in place", "driver SIGKILL"),
    ("first report: written, not answered", "SIGTERM"),
    ("checkpoint rename: before", "Ctrl-C"),
    ("first report: checkpoint there, not told", "Ctrl-C twice"),
    ("launch: training begins", "disk full"),
    ("checkpoint rename: before", "disk full"),
    ("tell: before", "ledger full"),
    ("first report: half written", "read-only"),
    ("first report: checkpoint there, not told", "out of memory"),
    ("export: before", "out of memory"),
)
"""The sample that runs with the real trainer."""
