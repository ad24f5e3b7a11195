"""Renders the report as one self-contained HTML file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.core.budget import render_seconds
from hpo.core.durable_files import write_atomically
from hpo.core.errors import HpoError
from hpo.core.protocols import Executor
from hpo.core.text import count_of, method_words, percent, storable
from hpo.core.thumbnails import thumbnail
from hpo.core.ties import less_words
from hpo.core.trial import Direction, TrialState
from hpo.core.unknown_calibrator import UnknownCalibrator
from hpo.report import charts, mistakes, parameter_charts, slot_chart, summary
from hpo.report.optuna_view import importances
from hpo.report.run_data import RunData
from hpo.report.tables import confusion_matrix, write_tables
from hpo.report.templates import load_template
from hpo.run.run_dir import RunDir
from hpo.study.plan import as_user_errors, named_sources

MISSES = 10
SUSPECTS = 10
CONFUSIONS = 12
CHANGES = 8
EVENTS = "events.ndjson"


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure with the words around it."""

    anchor: str
    title: str
    caption: str
    figure: charts.Figure | None
    """None where there is nothing to draw; the caption says why."""

    @property
    def data(self) -> str:
        """The figure as JSON that can stand inside a script element."""
        return json.dumps(self.figure).replace("<", "\\u003c")


def write_report(facts: RunData, executor: Executor | None, folder: Path | None = None) -> Path:
    """Write `report.html` and `report.md` and return the path of the page.

    Beside them the tables of `hpo.report.tables`, where the winner's pictures are looked at.

    Args:
        facts: the search.
        executor: where the trainer can look at the winner's pictures; None leaves that part out.
        folder: where to write; None means the run directory.
    """
    folder = folder or facts.run.path
    winner = default = None
    if executor and facts.best:
        winner = mistakes.look(facts, facts.best, executor, with_map=True)
    if executor and winner and facts.default and not facts.is_default_best:
        default = mistakes.look(facts, facts.default, executor, with_map=False)
    if winner:
        winner = {**winner, "unknowns": _calibrated(facts) or winner.get("unknowns")}
        write_tables(winner, folder)
    shares, _, _ = importances(facts)
    page = folder / "report.html"
    # Paths of pictures may hold bytes that are no UTF-8.
    write_atomically(page, storable(render(facts, shares, winner, default)))
    write_atomically(folder / "report.md", storable(summary.markdown(facts, shares)))
    return page


def _calibrated(facts: RunData) -> dict[str, Any] | None:
    """What the winner's gallery tells of unknown pictures, where trainings calibrated it."""
    is_winner = facts.best is not None and facts.handed_on.get("trial") == facts.best.number
    if is_winner and isinstance(facts.trainer, UnknownCalibrator):
        with contextlib.suppress(HpoError), as_user_errors():  # no section where its files are gone
            return facts.trainer.describe_unknowns(facts.run.best_dir)
    return None


def render(
    facts: RunData,
    shares: Mapping[str, float],
    winner: Mapping[str, Any] | None,
    default: Mapping[str, Any] | None,
) -> str:
    """Return the page as text."""
    from plotly.offline import get_plotlyjs

    return load_template("page.html").render(
        name=facts.study.name,
        run=str(facts.run),
        metric=facts.metric_word,
        cards=_cards(facts),
        sentences=summary.sentences(facts),
        charts=_charts(facts),
        rungs=summary.rungs(facts),
        pareto=facts.handed_on.get("pareto") or [],
        parameters=summary.parameter_rows(facts, shares),
        pinned=facts.space.pinned,
        trials=summary.trial_rows(facts),
        looked=_looked(facts.run, winner, default) if winner else None,
        commands=summary.commands(facts),
        versions=facts.plan.versions,
        method=method_words(facts.plan.algorithm, facts.plan.pruner, facts.plan.reason),
        sources=named_sources(facts.study, facts.plan),
        plotly=get_plotlyjs(),
    )


def _cards(facts: RunData) -> list[tuple[str, str, str]]:
    """Return the figures at the top as (label, figure, note)."""
    value, default = facts.value_of(facts.best), facts.value_of(facts.default)
    test = (facts.handed_on.get("test") or {}).get(facts.trainer.monitoring_metric)
    cards, word, (means, over) = [], facts.metric_word, _means(facts)
    mean = means.get(facts.best.number) if facts.best else None
    own = means.get((facts.handed_on.get("confirmation") or {}).get("default"))
    is_compared = mean is not None and own is not None
    if facts.best is not None and value is not None:
        cards.append((f"best {word}", f"{value:.3f}", f"trial {facts.best.number}, validation"))
        average = facts.handed_on.get("average") or {}
        if average.get("is_used"):
            note = f"handed on: {count_of(len(average['trials']), 'trial')}, validation"
            cards.append((f"average {word}", f"{average['value']:.3f}", note))
        if mean is not None:
            cards.append((f"confirmed {word}", f"{mean:.3f}", f"trial {facts.best.number}{over}"))
    if is_compared:  # like with like: means over new seeds, or the runs of the search
        value, default = mean, own
    if default is not None:
        less, seeds = less_words(facts.direction), over * is_compared
        how = f"{seeds} ({less})" if less else f" gained{seeds}"
        gain = "" if value is None else f"{value - default:+z.3f}{how}"
        if facts.is_default_best:
            gain = "it is the best" if len(facts.searched) > 1 else "nothing else was tried"
        cards.append((f"default {word}", f"{default:.3f}", gain))
    if test is not None:
        beside = ((facts.handed_on.get("test") or {}).get("held_out") or {}).get("default")
        note = "looked at once" if beside is None else f"the default: {beside:.3f}"
        cards.append((f"held-out {word}", f"{test:.3f}", note))
    pruned = sum(t.state is TrialState.PRUNED for t in facts.searched)
    cards.append(("trials", str(len(facts.searched)), f"{pruned} pruned"))
    cards.append(("time", render_seconds(facts.active_seconds), f"budget: {facts.study.budget}"))
    return cards


def _means(facts: RunData) -> tuple[dict[int | None, float], str]:
    """Means of finalists over their repeats, and over how many those are, in words."""
    sign = Direction(facts.direction).sign
    standings = (facts.handed_on.get("confirmation") or {}).get("standings") or []
    means = {s["number"]: sign * s["value"] for s in standings}
    seeds = min((len(s["values"]) for s in standings), default=0)
    return means, f" over {count_of(seeds, 'new seed')}"


def _charts(facts: RunData) -> list[Chart]:
    importance, how = parameter_charts.importance_bars(facts)
    word = facts.metric_word
    num_curves = sum(bool(t.measurements) for t in facts.searched)
    num_held = len(slot_chart.in_slots(facts))
    curves = (
        f"{word} after every validated epoch. Pruned trials end where they were stopped."
        + shown_of(
            len(charts.drawn_curves(facts)), num_curves,
            "trials, the best and a sample of the others,", EVENTS,
        )
    )  # fmt: skip
    return [
        Chart("history", "Trials in order", "Hover for parameters.", charts.history(facts)),
        Chart("curves", "Learning curves", curves, charts.curves(facts)),
        Chart("importance", "Which parameters matter", how, importance),
        Chart(
            "parallel",
            "Parallel coordinates",
            parameter_charts.parallel_caption(facts),
            parameter_charts.parallel(facts),
        ),
        Chart(
            "slices",
            "Value against each parameter",
            parameter_charts.slices_caption(facts),
            parameter_charts.slices(facts),
        ),
        Chart(
            "slots",
            "Slots",
            "Which trial ran where, when. A gap is idle time; pauses of the search are left out."
            + shown_of(min(num_held, slot_chart.MAX_DRAWN), num_held, "trials, the last,", EVENTS),
            slot_chart.slots(facts),
        ),
    ]


def _looked(
    run: RunDir, winner: Mapping[str, Any], default: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What stands behind the winner's figure, ready to be laid out."""
    queries, suspects = winner["queries"], winner["suspects"]
    num_misses = sum(not row["hit"] for row in queries)
    means, counts = mistakes.per_class(queries)
    confusions = mistakes.confusions(queries)
    before = mistakes.per_class(default["queries"])[0] if default else None
    confused, cells, num_classes = confusion_matrix(queries, charts.MAX_CONFUSED)
    paths = _paths(winner)
    picture = {path: thumbnail(path) for path in paths}
    # Where it lies: of a picture in an archive that is the copy that was unpacked.
    link = {path: Path(path).absolute().as_uri() for path in paths if Path(path).is_file()}
    return {
        "num_queries": len(queries),
        "num_misses": num_misses,
        "misses": mistakes.worst_misses(queries, MISSES),
        "suspects": suspects[:SUSPECTS],
        "num_suspects": len(suspects),
        "more_suspects": shown_of(SUSPECTS, len(suspects), "pictures", "suspect_labels.csv"),
        "more_misses": shown_of(MISSES, num_misses, "mistakes", "mistakes.csv"),
        "confusions": confusions[:CONFUSIONS],
        "more_confusions": shown_of(CONFUSIONS, len(confusions), "pairs", "confusion.csv"),
        **_moved(means, before or {}, counts),
        "has_default": before is not None,
        "picture": picture,
        "link": link,
        "classes": Chart(
            "classes",
            "Classes that do worst",
            "Number of queries in brackets."
            + shown_of(charts.MAX_CLASSES, len(means), "classes", "confusion.csv"),
            charts.class_bars(means, before, counts),
        ),
        "confusion": Chart(
            "confusion",
            "Confusion matrix",
            "Queries by their class (rows) and that of their nearest picture (columns). "
            "Point at a cell for its two classes, as not all are named where they are many."
            + shown_of(
                len(confused), num_classes, "classes, those of most mistakes,", "confusion.csv"
            ),
            charts.confusion_matrix(confused, cells),
        ),
        "unknowns": _unknowns(winner.get("unknowns"), run),
        "growth": _growth(winner.get("growth")),
        "gains": (winner.get("growth") or {}).get("classes", []),
        "map": _map(winner["map"]),
    }


def _map(told: Mapping[str, Any]) -> Chart:
    """The chart of the embeddings, left out where all of them lie in one place."""
    if len(set(told["x"])) == len(set(told["y"])) == 1:
        caption, figure = "All pictures embed alike: this model tells no two of them apart.", None
    else:
        caption = (
            f"{told['method']}; filled: queries, open: gallery. Distances between far groups mean "
            "little."
        )
        figure = charts.embedding_map(told)
    return Chart("map", "Map of the embeddings", caption, figure)


def shown_of(shown: int, total: int, what: str, file: str) -> str:
    """Say that not all of something is shown, and where all are; empty where they are."""
    return f" {shown} of {total} {what} are shown; all are in {file}." if total > shown else ""


def _unknowns(told: Mapping[str, Any] | None, run: RunDir) -> Chart | None:
    """The chart of what pictures of unknown classes bring, None where the trainer does not tell."""
    if not told:
        return None
    title, figure = "Pictures of unknown classes", None
    if told.get("why"):
        caption = f"No threshold: {told['why']}."
    else:
        limit = told["threshold"]
        low, high = limit["rate_interval"]
        caption = (
            f"With --unknown-at {limit['rate']:g} about {percent(limit['rate'])} of the pictures "
            "of classes outside the gallery would still get the name of a class, and "
            f"{limit['rejected']:.1%} of the known validation pictures would be called unknown: "
            "so many of what you label come back without a name, to be looked at. "
            f"For classes that did not help to find the limit expect {low:.1%} to {high:.1%} of "
            "unknown pictures with a name. The charts show what other rates would cost. Each "
            "validation class was left out of the gallery in turn to find this. "
            f"AUROC {told['auroc']:.3f}: 1 tells known from unknown without mistakes, 0.5 is "
            "chance."
        )
        if limit["is_of_trained"]:
            caption += (
                " The model was trained on these classes, so expect more unknown pictures to be "
                f"accepted than that; {run.command('gallery', '--calibrate-unknown')} measures how "
                "many."
            )
        figure = charts.unknown_curves(told["curves"])
    return Chart("unknowns", title, caption, figure)


def _growth(told: Mapping[str, Any] | None) -> Chart | None:
    """The chart of what more gallery pictures would bring, None where the trainer does not tell."""
    if not told:
        return None
    title, figure = "What more photographs would bring", None
    if told.get("why"):
        caption = f"Nothing can be said: {told['why']}."
    else:
        now = told["levels"][-1]
        expected = [
            f"{row['pictures'] / now['pictures']:.0f} times as many would bring P@1 "
            f"{row['value']:.3f} "
            f"({row['interval'][0]:.3f} to {row['interval'][1]:.3f})"
            for row in told["ahead"]
        ]
        asked, given = told.get("num_queries", 0), told.get("num_given", 0)
        part = f" and {asked} of the {given} queries, drawn at random" if asked < given else ""
        caption = (
            f"The gallery holds {_each(told)} pictures of a class: P@1 {now['value']:.3f} "
            f"(mean over classes). {'; '.join(expected)}. Measured on random parts of the "
            f"gallery{part}, continued by a power law. In brackets the 95 % interval for these "
            "queries, by what the same law, made of half the gallery, says wrongly of all of it. "
            "The model stays as it is; new pictures must be as varied as those there."
        )
        figure = charts.growth_curve(told["levels"], told["ahead"])
    return Chart("growth", title, caption, figure)


def _each(told: Mapping[str, Any]) -> str:
    """How many gallery pictures classes have; earlier releases kept a mean alone."""
    least, most = told.get("least"), told.get("most")
    if not least:
        return f"{told['levels'][-1]['pictures']:.1f}"
    return f"{least}" if least == most else f"{least} to {most}"


def _paths(winner: Mapping[str, Any]) -> set[str]:
    """Pictures that the page shows."""
    paths = {row["path"] for row in winner["suspects"][:SUSPECTS]}
    for row in mistakes.worst_misses(winner["queries"], MISSES):
        paths |= {row["path"], row["nearest"]["path"], row["own"]["path"]}
    return paths


def _moved(
    means: Mapping[str, float], before: Mapping[str, float], counts: Mapping[str, int]
) -> dict[str, Any]:
    """Classes that are worse and better than by the default; how many where not all are shown."""
    moved: dict[str, Any] = {}
    for kind, sign in (("worse", -1), ("better", 1)):
        changes = _changes(means, before, counts, sign)
        cut = len(changes) > CHANGES
        moved[kind] = changes[:CHANGES]
        moved[f"more_{kind}"] = f"{CHANGES} of {len(changes)} classes, most moved." if cut else ""
    return moved


def _changes(
    means: Mapping[str, float], before: Mapping[str, float], counts: Mapping[str, int], sign: int
) -> list[dict[str, Any]]:
    """Return the classes whose P@1 moved in one direction from the default's, most first."""
    moved: list[dict[str, Any]] = [
        {"name": n, "before": before[n], "after": means[n], "queries": counts[n]}
        for n in means
        if n in before and sign * (means[n] - before[n]) > 1e-9
    ]
    return sorted(moved, key=lambda r: (-sign * (r["after"] - r["before"]), r["name"]))
