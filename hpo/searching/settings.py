"""What one start of a search is given, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.core.bytes import free_bytes
from hpo.core.events import Finished, Review
from hpo.core.protocols import Listener
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.study.arguments import PathLike
from hpo.study.plan import StudyPlan
from hpo.study.spec import StudySpec

KEPT = ".data"
"""Below a folder of runs; see `SearchSettings.kept_below`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """What belongs to this start of a search, not to the study."""

    executor: str = "ray"
    """`ray`, or `inprocess` for one slot without worker processes."""
    ray_address: str = ""
    """`auto` or `host:port` of a Ray cluster that runs already; empty starts one here."""
    force: bool = False
    """Whether to go on with a run although its space, data or code have changed."""
    places: Mapping[str, PathLike] = field(default_factory=dict)
    """Where pictures of a run lie now that have moved (`hpo.searching.moved_data`)."""
    moved: Mapping[str, PathLike] = field(default_factory=dict)
    """Old place -> new one of other files of a run, such as weights."""
    completes: bool = False
    """Whether the trainer chooses weights, network and recipe where the study sets none."""
    runs: Path | None = None
    """Where earlier runs are looked for; None means where this one is made."""
    probe: bool = True
    """Whether to measure an epoch before the start."""
    listeners: tuple[Callable[[RunDir, StudySpec, StudyPlan, Ledger], Listener], ...] = ()
    should_stop: Callable[[], bool] = lambda: False
    confirm_start: Callable[[Review], bool] = lambda _review: True
    """Asked with the review; False ends the run before its first trial."""
    progress: Callable[[str, int, int], None] | None = None
    report: bool = False
    """Whether to write `report.html` at the end."""
    make_session: Callable[..., Any] | None = None
    """Builds a `hpo.searching.session.Session` from its arguments; None means that class."""
    route_style: str | None = None
    """See `hpo.study.plan.StudyPlan`."""
    is_over: bool = False  # set by `resume_search`: only the earlier result is shown again
    name_prefix: str = ""
    """Stands before the timestamp in the name of a new run directory."""
    fill: Callable[[Path], None] = lambda _folder: None
    """Writes more files into a new run directory before it appears."""
    free_space: Callable[[Path], int] = free_bytes
    """What may still be written to the disk of a folder, in bytes."""

    @property
    def words(self) -> tuple[str, ...]:
        """The flags by which `hpo resume` starts a search in the same way."""
        if self.executor == "inprocess":
            return ("--in-process",)
        return ("--ray-address", self.ray_address) if self.ray_address else ()

    @property
    def place_flags(self) -> tuple[tuple[str, str], ...]:
        """The flags of `hpo resume`, with their values, that say where files lie now, or `--force`.

        They are of no more use once the run has taken them.
        """
        places = ((f"--{name.replace('_', '-')}", str(at)) for name, at in self.places.items())
        moved = (("--moved", f"{old}={new}") for old, new in self.moved.items())
        return (*places, *moved, *((("--force", ""),) if self.force else ()))

    def kept_below(self, out: Path) -> Path | None:
        """Where pictures that are drawn or split are kept: on a cluster every node reads them.

        None means the trainer's own folder, which may be another one on each node.
        """
        return out.resolve() / KEPT if self.ray_address else None


@dataclass(slots=True, kw_only=True)
class SearchResult:
    """How a search ended."""

    run: RunDir
    finished: Finished | None = None
    """None when the search was interrupted or declined."""
    declined: str = ""
    """Why the review ended it, where the route knows a reason."""
