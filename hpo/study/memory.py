"""Finds what earlier searches on this machine found on similar pictures.

Of earlier searches nothing but configurations and validation values is read. How similar their
pictures are is told by features in the trainer's cache where both have some, else by the numbers of
classes and pictures; the same files count as the same.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from statistics import fmean
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hpo.core.errors import HpoError
from hpo.core.protocols import Trainer
from hpo.core.selection import distinct, ranked, with_params_of_their_own
from hpo.core.spec_dicts import flatten, is_same
from hpo.core.text import is_number
from hpo.core.trainer_extras import PictureDescriber
from hpo.core.trial import Direction, TrialRecord, TrialState
from hpo.run.ledger import Ledger
from hpo.run.run_dir import AUTOML_FACTS, RunDir
from hpo.run.trial_specs import TrialSpecs
from hpo.study.plan import StudyPlan, as_user_errors, held_out_sources, read_plan
from hpo.study.provenance import NO_FILES, Origin, describe_source, read_origin
from hpo.study.spec import StudySpec, load_study

if TYPE_CHECKING:
    from search_spaces import SearchSpace

MOST = 3
"""Configurations that are taken over at most, from all runs together."""
LEAST_WEIGHT = 0.3
"""The k-th best configuration of a run weighs similarity / k: so the same pictures give three, and
pictures of which no more than the numbers are alike give one."""
BY_NUMBERS = 0.5
"""The highest similarity where only numbers of classes and pictures are known."""
_VALIDATION = ("train", "reference", "query")


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How similar the pictures of two searches are."""

    similarity: float
    """From 0 to 1."""
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A configuration of an earlier search."""

    weight: float
    values: Mapping[str, Any]
    source: str
    """The trial, its validation value, and how similar the pictures are; one line."""
    parent: tuple[str, Mapping[str, Any]] | None = None
    """Stage and configuration of the trial whose checkpoint it began with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """What to try first: where it comes from -> {parameter: value}, the most promising first."""

    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    earlier: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """The same for each earlier stage of which there is something."""
    after: str = ""
    """The newest search on the same pictures, also where it found nothing or has not ended."""

    def __bool__(self) -> bool:
        return bool(self.last or self.earlier)


def recall(
    runs: Sequence[RunDir],
    study: StudySpec,
    plan: StudyPlan,
    trainer: Trainer,
    space: SearchSpace,
    earlier: Mapping[str, SearchSpace] = MappingProxyType({}),
) -> Recollection:
    """Return what to try first.

    Args:
        runs: earlier searches, the newest first; those that do not fit or cannot be read are passed
            over.
        study: of the new search.
        plan: its plan; `sources` and `base_spec` are used.
        trainer: of the new search.
        space: of the new search.
        earlier: spaces of its earlier stages.
    """
    if not runs:
        return Recollection()
    now = _Now(study, plan, trainer)
    names = {p.name for each in (space, *earlier.values()) for p in each.parameters}
    found: list[Remembered] = []
    after = ""
    for run in runs:
        # Nothing is learnt from one that is damaged or was written by another version.
        with contextlib.suppress(
            *(HpoError, OSError, ValueError, TypeError, LookupError, AttributeError)
        ):
            after = after or _label_on_the_same(run, now)
            found += _of_run(run, now, names)
    found.sort(key=lambda one: -one.weight)
    distinct: list[Remembered] = []
    for one in found:
        # A run and its copy, and one that began with another's best, have configurations in common.
        if not any(_is_same_try(one, other, space) for other in distinct):
            distinct.append(one)
    chosen = Recollection(after=after)
    for one in [one for one in distinct if one.weight >= LEAST_WEIGHT][:MOST]:
        _add(chosen.last, one.source, one.values, space)
        if one.parent is not None and one.parent[0] in earlier:
            stage, values = one.parent
            _add(chosen.earlier.setdefault(stage, {}), one.source, values, earlier[stage])
    return replace(chosen, earlier={name: rows for name, rows in chosen.earlier.items() if rows})


def _is_same_try(one: Remembered, other: Remembered, space: SearchSpace) -> bool:
    """Whether two configurations are the same in what is searched and in what they began with."""
    names = [parameter.name for parameter in space.parameters]
    return one.parent == other.parent and all(
        is_same(one.values.get(name), other.values.get(name)) for name in names
    )


def _add(
    rows: dict[str, dict[str, Any]], source: str, values: Mapping[str, Any], space: SearchSpace
) -> None:
    """Add what a space searches of a configuration, unless it is the default or there already."""
    own = {p.name: values[p.name] for p in space.parameters if p.name in values}
    known = (space.default(), *rows.values())
    if not any(all(is_same(value, row.get(name)) for name, value in own.items()) for row in known):
        rows[source] = own


class _Now:
    """The new search, and what is asked of it once."""

    def __init__(self, study: StudySpec, plan: StudyPlan, trainer: Trainer) -> None:
        self.study, self.plan, self.trainer = study, plan, trainer
        self.data = {name: _described(place, trainer) for name, place in plan.sources.items()}
        """What each source is described as; nothing where all is gone, which looks alike."""
        self._features: dict[str, Mapping[str, Any]] = {}

    @functools.cached_property
    def _files(self) -> dict[str, set[str]]:
        return {name: _described(place, None) for name, place in self.plan.sources.items()}

    def described(self, name: str, origin: Origin) -> set[str]:
        """What a run of the given origin may have kept of a source.

        Earlier releases kept what all files of a folder are, and of a list the file itself.
        """
        return self.data[name] if "files" in origin else self.data[name] | self._files[name]

    def is_on_the_same(self, origin: Origin) -> bool:
        """Whether a run of the given origin was on the same pictures."""
        before = origin.get("data", {})
        return all(before.get(name) in self.described(name, origin) for name in _VALIDATION)

    @functools.cached_property
    def numbers(self) -> dict[str, float]:
        """Numbers of classes and pictures, see `numbers_of`."""
        return numbers_of(self.trainer.inspect_data(self.plan.base_spec))

    def features(self, address: str) -> Mapping[str, Any]:
        """Statistics of a source's features, read once a source; empty where there are none."""
        if not isinstance(self.trainer, PictureDescriber):
            return {}
        if address not in self._features:
            self._features[address] = self.trainer.feature_statistics(address)
        return self._features[address]


def _label_on_the_same(run: RunDir, now: _Now) -> str:
    """Name a run on the same pictures, whatever became of it; empty for any other."""
    is_route = (run.path / AUTOML_FACTS).exists()
    return "" if is_route or not now.is_on_the_same(read_origin(run)) else run.label


def _of_run(run: RunDir, now: _Now, names: set[str]) -> Iterator[Remembered]:
    """The best configurations of one run that are ahead of its default."""
    if run.read_state().get("status") != "finished" or (run.path / AUTOML_FACTS).exists():
        return
    study, plan = load_study(run.study_file), read_plan(run.path)
    if study.trainer != now.study.trainer or not is_same_kind(plan, now.plan, now.trainer, names):
        return
    likeness = _compare(run, study, plan, now)
    if likeness is None or likeness.similarity < LEAST_WEIGHT:
        return
    trials, direction = Ledger.read_trials(run.ledger_file)
    if direction != now.trainer.direction:
        return
    specs = TrialSpecs(base_spec=plan.base_spec, seed_key="", run=run)
    for place, (trial, value) in enumerate(best_of(trials, direction), start=1):
        parent = None if trial.stage.parent is None else trials[trial.stage.parent]
        where = f"trial {trial.number} of {run.label} ({value:.4f})"
        yield Remembered(
            weight=likeness.similarity / place,
            values=flatten(specs.trained_spec(trial)),
            source=f"{where}: {likeness.words}",
            parent=None if parent is None else (parent.stage.name, parent.params),
        )


def best_of(trials: Sequence[TrialRecord], direction: str) -> list[tuple[TrialRecord, float]]:
    """The best whole trials of a search with their values, without the default and what it beat."""
    sign = Direction(direction).sign
    order = [
        (trial, best.value)
        for trial in ranked([t for t in trials if not t.is_repeat], direction)
        if trial.state is TrialState.COMPLETE and (best := trial.best_measurement(direction))
    ]
    values = {t.number: value for t, value in order}
    default = [sign * value for t, value in order if t.is_twin_of(trials[0])]
    floor = max(default, default=-math.inf)
    longest = order[0][0].epochs if order else 0
    ahead = (t for t, value in order if t.epochs == longest and sign * value > floor)
    able = with_params_of_their_own(ahead, trials)
    return [(t, values[t.number]) for t in islice(distinct(able), MOST)]


def is_same_kind(before: StudyPlan, now: StudyPlan, trainer: Trainer, names: set[str]) -> bool:
    """Whether options and switches that are not searched are the same in both specs.

    A rate that suits one optimizer or one set of weights says nothing of another. A key that the
    release of the earlier one did not have is as it is by itself.
    """
    own = {*trainer.data_overrides(now.sources), trainer.seed_key, *names}
    one, other = flatten(before.base_spec), flatten(now.base_spec)
    # A section without a number, such as that of a tracking service, says nothing of the training.
    sections = {name.partition(".")[0] for name, value in other.items() if is_number(value)}
    chosen = {
        name: value
        for name, value in other.items()
        if isinstance(value, str | bool) and name.partition(".")[0] in sections and name not in own
    }
    if chosen.keys() - one.keys() and all(one.get(name, it) == it for name, it in chosen.items()):
        with contextlib.suppress(HpoError), as_user_errors():
            one = {**flatten(trainer.validate(before.base_spec)), **one}
    return all(one.get(name) == value for name, value in chosen.items())


def _compare(run: RunDir, study: StudySpec, plan: StudyPlan, now: _Now) -> Likeness | None:
    """How similar the pictures are; None where some chose there that are held out here."""
    origin = read_origin(run)
    if now.is_on_the_same(origin):
        return Likeness(similarity=1.0, words="the same pictures")
    if held_out_sources(now.plan.sources) and _shares_pictures(origin, study, now):
        return None
    alike = _by_features(plan, now)
    numbers = by_numbers(_reported_numbers(run), now.numbers)
    if alike is not None:
        similarity = math.sqrt(alike * numbers)
        return Likeness(similarity=similarity, words=f"similar pictures ({similarity:.2f})")
    similarity = BY_NUMBERS * numbers
    return Likeness(similarity=similarity, words=f"about as many pictures ({similarity:.2f})")


def _described(place: str, trainer: Trainer | None) -> set[str]:
    """Describe a source, by its pictures or by all its files; empty where nothing is there."""
    text = describe_source(place, trainer)
    return set() if text.startswith(NO_FILES) else {text}


def _shares_pictures(origin: Origin, study: StudySpec, now: _Now) -> bool:
    """Whether pictures that are held out now may have chosen the earlier search's best."""
    if study.data.folder and study.data.folder == now.study.data.folder:
        return True  # another split of one folder
    before = {origin.get("data", {}).get(name) for name in _VALIDATION}
    return bool(now.described("test_query", origin) & before)


def _by_features(plan: StudyPlan, now: _Now) -> float | None:
    """Likeness of features that one trunk made of both; None where there are none."""
    for split in _VALIDATION:
        one, other = now.features(plan.sources[split]), now.features(now.plan.sources[split])
        if shared := sorted(one.keys() & other.keys()):
            return fmean(overlap(one[key], other[key]) for key in shared)
    return None


def overlap(one: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]]) -> float:
    """exp(-d / v): 1 for the same means and variances, towards 0 the farther they are apart.

    d is the squared distance of Frechet between Gaussians with diagonal covariances, v the mean of
    both total variances (Heusel et al. 2017 compare features so, without the scale).
    """
    means = zip(one["mean"], other["mean"], strict=True)
    variances = list(zip(one["variance"], other["variance"], strict=True))
    distance = sum((a - b) ** 2 for a, b in means)
    distance += sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in variances)
    scale = sum(a + b for a, b in variances) / 2
    return math.exp(-distance / scale) if scale else float(distance == 0)


def numbers_of(data: Mapping[str, Any]) -> dict[str, float]:
    """Classes, and pictures per class, of each split that `inspect_data` describes."""
    found: dict[str, float] = {}
    for name, split in (data.get("splits") or {}).items():
        if split.get("classes") and split.get("images"):
            found[f"{name} classes"] = split["classes"]
            found[f"{name} pictures per class"] = split["images"] / split["classes"]
    return found


def by_numbers(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Geometric mean of the ratios of smaller to larger; 0 where nothing is known of both."""
    shared = one.keys() & other.keys()
    if not shared:
        return 0.0
    return math.exp(-fmean(abs(math.log(one[name] / other[name])) for name in shared))


def _reported_numbers(run: RunDir) -> dict[str, float]:
    """Numbers of a run's pictures, from its review."""
    with run.events_file.open(encoding="utf-8") as lines:
        for line in lines:
            if '"review"' in line and (event := json.loads(line)).get("event") == "review":
                return numbers_of(event["data"])
    return {}
