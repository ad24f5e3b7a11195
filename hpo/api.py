"""Python API: `search` runs a search, `load` opens one, both return a `Study`.

import hpo

study = hpo.search(data="photos", budget="40", spec={"train.num_epochs": 20})
study.best_params
study.trials_dataframe()
study.plot_curves()

study = hpo.load("photos")          # the newest run of that name, also while it goes on
"""

from __future__ import annotations

import contextlib
import html
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.core.budget import extend_budget
from hpo.core.errors import SpecError
from hpo.core.process.imports import calls_stay_harmless, warnings_stay_harmless
from hpo.core.text import count_of, quoted
from hpo.core.trial import Direction
from hpo.report import charts, parameter_charts, slot_chart
from hpo.report.optuna_view import short_names
from hpo.report.run_data import RunData, load_run_data
from hpo.results.story import winner_story
from hpo.run.run_dir import RunDir, find_run
from hpo.study.arguments import FIELDS, Data, PathLike, place_of, study_of_arguments
from hpo.study.schema import check_shape
from hpo.study.spec import StudySpec, load_study

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from hpo.searching.settings import SearchSettings

COLORS = {
    "@accent": "#2563c9",
    "@default": "#c9701a",
    "@complete": "#5b7fb5",
    "@pruned": "#c3c9d3",
    "@failed": "#c43d3d",
    "@muted": "#667085",
    "@page": "#ffffff",
}
"""The report's light theme."""

_OF_A_RESUME = ("force", "places", "moved")
_OF_A_SEARCH = ("completes", "runs", "name_prefix", "fill")
"""Settings of `SearchSettings` that one of the two alone goes by."""
SHOWN_TRIALS = 10
"""A notebook's table of a study shows so many."""


@warnings_stay_harmless()
def search(
    study: PathLike | None = None,
    *,
    data: Data | None = None,
    budget: str | int | None = None,
    spec: Mapping[str, Any] | None = None,
    weights: PathLike | None = None,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    out: PathLike = "runs",
    **settings: Any,
) -> Study:
    """Search, and return what was found; without pictures, on the embedded ones.

    Ctrl-C stops it at once; `hpo.load().resume()` goes on.

    Args:
        study: a study file; everything else is laid over it.
        data: one folder of classes, split for you; or the splits: train, reference, query and
            where given test_reference and test_query; or the section `data` of a study file:
            folder, class_disjoint, group_by.
        budget: as on the command line: `20`, `"2h"`, `"40,3h"`.
        spec: keys of the trainer's spec, dotted or nested.
        weights: pretrained weights: a file, or an address such as `lite0` or `timm://resnet18`;
            `none` starts from random ones whatever the study says.
        name: of the study.
        options: of `hpo.study.spec.SearchOptions`: algorithm, pruner, seed, confirm, over,
            ranges, options, fix...; tables are merged with the study's by name.
        out: the folder that runs lie in.
        **settings: concurrent, trials_per_gpu, keep and disk_quota as in a study file;
            `quiet=True` for no lines on stderr; others of
            `hpo.searching.settings.SearchSettings`, e.g. `executor="inprocess"`. `listeners` come
            beside MLflow and the lines on stderr: each is called once, with the run, study,
            plan and ledger, and returns what takes the events
            (`hpo.core.protocols.Listener`).

    Raises:
        HpoError: for wrong input, in one line.
        HandoffError: when no trial has a result or the export fails.
    """
    from hpo.algorithms.registry import canonical_name
    from hpo.searching.session import start_search

    others = {key: value for key, value in settings.items() if key not in FIELDS}
    with _settings(others, but=_OF_A_RESUME) as start:
        fields = {"name": name, **settings}
        wanted = study_of_arguments(
            study, data, budget, spec, weights, options, fields, named=canonical_name
        )
        result = start_search(wanted, Path(place_of("out", out)), replace(start, completes=True))
    return Study(result.run)


def load(run: PathLike | None = None, *, out: PathLike = "runs") -> Study:
    """Return a run by its directory, its study's name or timestamp; the newest by default.

    Raises:
        RunError: when there is none.
    """
    wanted = None if run is None else place_of("run", run)
    return Study(find_run(wanted, Path(place_of("out", out))))


@contextlib.contextmanager
def _settings(changes: Mapping[str, Any], but: Collection[str]) -> Iterator[SearchSettings]:
    """Settings as the command line has them: lines on stderr, MLflow, a report at the end.

    Args:
        changes: what the call says.
        but: what such a call does not take.
    """
    from hpo.console.console import Console
    from hpo.searching.settings import SearchSettings
    from hpo.tracking.listener import mlflow_listener

    quiet = changes.get("quiet", False)
    changes = {key: value for key, value in changes.items() if key != "quiet"}
    unknown = sorted(set(changes) - (set(SearchSettings.__dataclass_fields__) - set(but)))
    if unknown:
        what = "search" if but == _OF_A_RESUME else "resume"
        raise SpecError(f"{unknown[0]}: no such argument of a {what}")
    if not isinstance(quiet, bool):
        raise SpecError(f"quiet: must be True or False, got {quoted(quiet)}")
    more = changes.get("listeners", ())
    if not isinstance(more, Sequence) or not all(map(callable, more)):
        raise SpecError(f"listeners: must be a list of functions, got {quoted(more)}")
    if changes.get("runs") is not None:
        changes["runs"] = Path(place_of("runs", changes["runs"]))
    console = Console(sys.stderr, stops_at_once=True)
    shown = SearchSettings(report=True) if quiet else SearchSettings(
        listeners=(lambda *_: console,), progress=console.progress, report=True
    )  # fmt: skip
    # The console closes last: how to go on stands below anything that others have to say.
    changes["listeners"] = (mlflow_listener, *more, *shown.listeners)
    try:
        yield replace(shown, **changes)
    except KeyboardInterrupt:
        if not quiet:
            console.interrupted_hard()
        raise
    finally:
        console.close()


@calls_stay_harmless
class Study:
    """One run, read anew from its ledger each time something is asked for.

    Args:
        run: the run directory.
    """

    def __init__(self, run: RunDir | PathLike) -> None:
        self._run = run if isinstance(run, RunDir) else RunDir(Path(place_of("run", run)))

    def __repr__(self) -> str:
        return f"Study({str(self._run)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: how the run stands, its winner, and its trials, the best first."""
        facts = self.facts
        lines = [f"{facts.study.name}: {facts.status}, {count_of(len(facts.trials), 'trial')}"]
        if facts.best is not None:
            value = f"{facts.metric_word} {facts.value_of(facts.best):.4f}"
            lines.append(f"best: trial {facts.best.number}, {value}")
        lines += [*winner_story(facts.handed_on), str(self._run)]
        table = self.trials_dataframe() if facts.trials else None
        shown = ""
        if table is not None:
            rises = facts.direction == Direction.MINIMIZE
            shown = table.sort_values("value", ascending=rises).to_html(
                max_rows=SHOWN_TRIALS, na_rep="", float_format="{:.4g}".format, border=0
            )
        return f"<p>{'<br>'.join(map(html.escape, lines))}</p>{shown}"

    @property
    def run_dir(self) -> Path:
        """Where everything of the search lies."""
        return self._run.path

    @property
    def facts(self) -> RunData:
        """Study, plan, space and trials as they stand; before the first trial there are none."""
        return load_run_data(self._run, may_be_empty=True)

    @property
    def best(self) -> dict[str, Any]:
        """The winner: trial, value, params and, after the hand-off, its files; empty before."""
        facts = self.facts
        if facts.best is None:
            return {}
        files = {
            key: facts.handed_on[key]
            for key in ("spec", "checkpoint", "onnx", "gallery", "expected", "test")
            if key in facts.handed_on
        }
        return {
            "trial": facts.best.number,
            "value": facts.value_of(facts.best),
            "default_value": facts.value_of(facts.default),
            "params": dict(facts.best.params),
            **files,
        }

    @property
    def best_params(self) -> dict[str, Any]:
        """The winner's parameters by dotted name."""
        return dict(self.best.get("params", {}))

    @property
    def best_value(self) -> float | None:
        """The winner's value on the validation queries."""
        value = self.best.get("value")
        return None if value is None else float(value)

    def trials_dataframe(self) -> pd.DataFrame:
        """One row a trial: number, state, value, epochs, seconds, error and its parameters."""
        import pandas as pd

        facts = self.facts
        columns = ("trial", "purpose", "state", "value", "epochs", "seconds", "error")
        short = short_names(facts, *columns)
        rows = [
            {
                "trial": t.number,
                "purpose": str(t.purpose),
                "state": str(t.state),
                "value": None if t.error else facts.value_of(t),
                "epochs": t.epochs,
                "seconds": t.seconds,
                "error": (t.error or {}).get("message"),
                **{short[key]: value for key, value in t.params.items()},
            }
            for t in facts.trials
        ]
        return pd.DataFrame(rows, columns=None if rows else columns).set_index("trial")

    def epochs_dataframe(self) -> pd.DataFrame:
        """One row a validated epoch: trial, epoch, value, seconds and the other metrics."""
        import pandas as pd

        rows = [
            {
                "trial": t.number,
                "epoch": m.epoch,
                "value": m.value,
                "seconds": m.seconds,
                **m.metrics,
            }
            for t in self.facts.trials
            for m in t.measurements
        ]
        return pd.DataFrame(rows)

    def plot_history(self) -> go.Figure:
        """Value of every trial in order, and the best so far."""
        return _figure(charts.history(load_run_data(self._run)))

    def plot_curves(self) -> go.Figure:
        """P@1 after every epoch, the winner and the default in front."""
        return _figure(charts.curves(load_run_data(self._run)))

    def plot_importance(self) -> go.Figure:
        """Which parameters matter.

        Raises:
            SpecError: when there are too few trials to say.
        """
        return _figure(*parameter_charts.importance_bars(load_run_data(self._run)))

    def plot_parallel(self) -> go.Figure:
        """Parallel coordinates of the parameters that tell most."""
        return _figure(
            parameter_charts.parallel(load_run_data(self._run)),
            "two trials with a result are needed",
        )

    def plot_slices(self) -> go.Figure:
        """P@1 against each of the parameters that tell most."""
        return _figure(
            parameter_charts.slices(load_run_data(self._run)), "two trials with a result are needed"
        )

    def plot_slots(self) -> go.Figure:
        """Which trial ran where, when."""
        return _figure(slot_chart.slots(load_run_data(self._run)), "no trial has an epoch yet")

    def resume(self, budget: str | int | None = None, **settings: Any) -> Study:
        """Go on, to the end of the budget or of a new one (`"+20"` adds to the old).

        Args:
            budget: in place of the old one.
            **settings: keep and disk_quota, in place of the study's; `quiet`; others of
                `hpo.searching.settings.SearchSettings`, e.g. `force=True`.

        Raises:
            HpoError: as `search`.
        """
        from hpo.automl.errors import ReviewDeclinedError
        from hpo.automl.session import AutoMLSession
        from hpo.automl.workspace import demand_started_here, is_workspace
        from hpo.searching.session import resume_search

        if is_workspace(self._run.path):
            demand_started_here(self._run.path)
            settings = {"make_session": AutoMLSession, **settings}
        wanted = None
        if budget is not None:
            wanted = extend_budget(load_study(self._run.study_file).budget, str(budget))
        kept = {key: settings.pop(key) for key in ("keep", "disk_quota") if key in settings}
        check_shape(StudySpec, kept, "Study.resume")
        with _settings(settings, but=_OF_A_SEARCH) as start:
            ended = resume_search(self._run, start, budget=wanted, **kept)
        if ended.declined:
            raise ReviewDeclinedError(f"{self._run}: {ended.declined}")
        return self

    def predict(
        self, images: PathLike | Sequence[PathLike], topk: int = 1, unknown_at: float | None = None
    ) -> list[dict[str, Any]]:
        """Label pictures by the exported model and its gallery.

        Args:
            images: picture files, and folders and archives of them; one of them may stand alone.
            topk: labels per picture.
            unknown_at: share of pictures of unknown classes that are taken for known; None gives
                every picture a class.

        Returns:
            A row per picture: `image`, `label` (`unknown` where no class fits), with `unknown_at`
            also `unknown` (a class may be called so), and of the nearest classes `labels`,
            `scores` and `distances`; `image` and `error` where it cannot be read.

        Raises:
            RunError: when the search has not exported a model yet.
            DataError: when nothing can calibrate the share that was asked for.
        """
        from hpo.results.predict import label_with_run

        several = (
            images if isinstance(images, Iterable) and not isinstance(images, str) else [images]
        )
        places = [place_of("images", image) for image in several]
        return list(label_with_run(self._run, places, topk, unknown_at=unknown_at).rows)

    def report(self) -> Path:
        """Write `report.html` and return its path."""
        from hpo.executors.inprocess import InProcessExecutor
        from hpo.report.page import write_report

        facts = load_run_data(self._run)
        return write_report(facts, InProcessExecutor(facts.study.trainer))


def _figure(figure: charts.Figure | None, reason: str = "") -> go.Figure:
    import plotly.graph_objects as go

    if figure is None:
        raise SpecError(f"nothing to draw: {reason}")
    made = go.Figure(_colored(figure))
    made.update_layout(template="plotly_white")
    return made


def _colored(value: Any) -> Any:
    """Replace the names of colours in a chart."""
    if isinstance(value, str):
        return COLORS.get(value, value)
    if isinstance(value, Mapping):
        return {key: _colored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_colored(item) for item in value]
    return value
