"""Record the same heads on many data sets, for learning a portfolio from them.

    python tests/benchmarks/record_portfolio.py record --kind heads --images DATA --work /tmp/rec
    python tests/benchmarks/record_portfolio.py pack --kind heads --work /tmp/rec --out heads.json.gz

DATA holds `omniglot` and `grocery`. `record` may be killed and started again at any time: each
finished head is one line of a file, and one data set is done before the next begins. `heads` is the
stage of a search from pretrained weights, `photographs` judges what was learned for it, `frozen` is
a search of heads alone, as `recorded_curves.py` replays it.

Configuration 0 is the default; then come the designed points that searches of some seeds would
begin with after it; of the others, two of three are uniform in the space that a search would
compile, and one lies half way between such a draw and the default.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hpo.algorithms.recipes import random_points
from hpo.core.machine import Machine, Node
from hpo.core.seeds import derive_seed
from hpo.core.spec_dicts import merged
from hpo.study.plan import StudyPlan, build_base_spec, num_epochs_of, settle_space
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec
from hpo.study.stages import planned_stages
from hpo.study.start import complete_study
from search_spaces import SearchSpace
from tests.benchmarks.portfolio_data import family_of, make_data
from tests.benchmarks.record_curves import header, read_lines, write_recording
from trainer.errors import DivergedError
from trainer.portfolio import first_trials
from trainer.session import TRAINER

SEED = 1
BATCH = 96
"""Heads that are trained together."""
WEIGHTS = "lite0"
MACHINE = Machine(nodes=(Node(cpus=2, gpus=0),))
PRETRAINED = {"model.input_height": 96, "model.input_width": 96}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is recorded for one start and stage."""

    spec: Mapping[str, Any]
    data: Sequence[str]
    configs: int
    """Without the designed ones."""
    designs: int = 2
    """Seeds whose designed start is recorded too."""
    design_points: int = 5
    """Of each, after the default."""
    with_portfolio: bool = False
    """Whether the configurations that a search would try first are recorded too."""
    later_designs: int = 0
    """Further seeds, whose points come last."""
    stages: tuple[str, ...] = ()
    """Of the study; the first one is recorded, `()` records the whole search."""
    classes: int | None = None
    most: int | None = None
    """Pictures of a class in training and as queries."""
    whole: tuple[str, ...] = ()
    """Data sets that `classes` and `most` do not make smaller."""
    seeds: Mapping[int, int] = field(default_factory=dict)
    """Other seed -> how many of the configurations are trained with it too."""


KINDS = {
    "heads": Kind(
        spec=PRETRAINED,
        stages=("heads", "full"),
        data=(
            *("packs-demo", "balinese", "packs-few", "latin", "packs-pairs", "korean"),
            *("packs-small", "mixed", "greek", "aramaic", "packs-wide", "packs-many"),
        ),
        whole=("packs-wide",),
        configs=46,
        later_designs=4,
        classes=20,
        most=8,
    ),
    "frozen": Kind(
        spec={**PRETRAINED, "train.train_trunk": False, "train.num_epochs": 20},
        data=("packs-wide",),
        configs=65,
        designs=0,
        seeds={2: 8, 3: 8, 4: 8},
    ),
    "photographs": Kind(
        spec={"model.input_height": 128, "model.input_width": 128},
        stages=("heads", "full"),
        data=("groceries",),
        whole=("groceries",),
        configs=20,
        later_designs=4,
        with_portfolio=True,
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Record, or pack what was recorded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    record = verbs.add_parser("record")
    record.add_argument("--images", type=Path, required=True)
    pack = verbs.add_parser("pack")
    pack.add_argument("--out", type=Path, required=True)
    for verb in (record, pack):
        verb.add_argument("--kind", choices=KINDS, required=True)
        verb.add_argument("--work", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.verb == "record":
        run_recorder(args.kind, args.images, args.work)
    else:
        pack_matrix(args.kind, args.work, args.out)


def run_recorder(name: str, images: Path, work: Path) -> None:
    """Train what is not in the file yet."""
    os.environ.setdefault("HPO_CACHE_DIR", str(work / "cache"))
    import torch

    torch.set_num_threads(1)
    kind, path = KINDS[name], work / f"{name}.jsonl"
    places = {
        data: plan_on(kind, data, make_data(data, images, work, **_size(kind, data)))
        for data in kind.data
    }
    base, space, search = places[kind.data[0]]
    configs = draw_configs(space, kind)
    head = {
        **header(base),
        "search": {"over": list(search.over), "ranges": dict(search.ranges)},
        "num_epochs": num_epochs_of(base, TRAINER),
        "data": {data: _facts(own, data) for data, (own, _, _) in places.items()},
        "configs": configs,
    }
    (work / f"{name}.json").write_text(json.dumps(head))
    done = {(line["data"], line["index"], line["seed"]) for line in read_lines(path)}
    runs = [(index, SEED) for index in range(len(configs))]
    runs += [(index, seed) for seed, count in kind.seeds.items() for index in range(count)]
    for data, (base, space, _) in places.items():
        todo = [run for run in runs if (data, *run) not in done]
        for line in _train(base, space, configs, todo, work / f"out-{name}"):
            with path.open("a") as stream:
                stream.write(json.dumps({"data": data, **line}) + "\n")


def _size(kind: Kind, data: str) -> dict[str, int | None]:
    return {} if data in kind.whole else {"classes": kind.classes, "most": kind.most}


def plan_on(
    kind: Kind, data: str, sources: Mapping[str, str]
) -> tuple[dict[str, Any], SearchSpace, SearchOptions]:
    """The spec of a trial, the space that a search would compile for it, and what it searches."""
    study = StudySpec(
        weights=WEIGHTS, spec=dict(kind.spec), search=SearchOptions(stages=kind.stages)
    )
    study = complete_study(study, TRAINER, MACHINE).study
    spec = build_base_spec(study, TRAINER, sources)
    base, space = settle_space(study, TRAINER, spec, num_trials=None)
    if not kind.stages:
        return base, space, study.search
    plan = StudyPlan(
        study_uuid="", sources=dict(sources), base_spec=base, algorithm="tpe", pruner="none",
        reason="", space_digest=space.digest, num_epochs=num_epochs_of(base, TRAINER),
        planned_trials=None,
    )  # fmt: skip
    stage = planned_stages(study, plan, TRAINER)[0]
    return stage.plan.base_spec, stage.space, stage.study.search


def draw_configs(space: SearchSpace, kind: Kind) -> list[dict[str, Any]]:
    """All configurations in the order in which they are recorded: [{"source", "params"}]."""
    default = space.default()
    unit_default = space.to_unit(default)
    configs = [{"source": "default", "params": default}]
    configs += _designed(space, kind, range(kind.designs))
    for index in range(1, kind.configs):
        rng = random.Random(derive_seed("portfolio", index))
        drawn = space.sample(rng)
        if index % 3:
            configs.append({"source": "compiled", "params": drawn})
            continue
        pairs = zip(unit_default, space.to_unit(drawn), space.dimensions, strict=True)
        half = [b if hasattr(dim, "choices") else (a + b) / 2 for a, b, dim in pairs]
        configs.append({"source": "near", "params": space.from_unit(half)})
    if kind.with_portfolio:
        first = first_trials("heads").values()
        configs += [{"source": "portfolio", "params": dict(params)} for params in first]
    later = range(kind.designs, kind.designs + kind.later_designs)
    return configs + _designed(space, kind, later)


def _designed(space: SearchSpace, kind: Kind, seeds: range) -> list[dict[str, Any]]:
    """The points that searches of these seeds begin with after the default."""
    found = []
    for seed in seeds:
        rng = random.Random(derive_seed(seed, "design"))
        count = max(space.early_trials, random_points(space))
        points = space.for_trial(0).design(count, rng)
        for latents in points[1 : kind.design_points + 1]:  # the default has the first place
            found.append({"source": f"design {seed}", "params": space.decode(latents)})
    return found


def _train(
    base: dict[str, Any],
    space: SearchSpace,
    configs: Sequence[Mapping[str, Any]],
    runs: Sequence[tuple[int, int]],
    folder: Path,
) -> Iterator[dict[str, Any]]:
    """Train (configuration, seed) on a data set, many together."""
    for start in range(0, len(runs), BATCH):
        part = runs[start : start + BATCH]
        specs = []
        for place, (index, seed) in enumerate(part):
            params = configs[index]["params"]
            own = {"train.seed": seed, "results_dir": str(folder / str(place))}
            specs.append(merged(base, {**params, **space.idle(params)}, own))
        yield from _together(specs, part)
        shutil.rmtree(folder, ignore_errors=True)


def _together(
    specs: Sequence[dict[str, Any]], runs: Sequence[tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    curves: list[list[float]] = [[] for _ in specs]
    began = time.process_time()

    def report(place: int, told: Mapping[str, Any]) -> bool:
        curves[place].append(round(told["value"], 5))
        return True

    outcomes = TRAINER.fit_heads(specs, report)
    each = (time.process_time() - began) / sum(map(len, curves))
    for (index, seed), curve, outcome in zip(runs, curves, outcomes, strict=True):
        failure = None if isinstance(outcome, dict) else _failure(outcome)
        yield {
            "index": index,
            "seed": seed,
            "value": curve,
            "cpu_s": [round(each, 4)] * len(curve),
            "failure": failure,
        }


def _failure(error: Exception) -> dict[str, str]:
    """How a configuration diverged; every other error ends the recording.

    Raises:
        Exception: the error, if it is not of the configuration.
    """
    if not isinstance(error, DivergedError):
        raise error
    return {"kind": error.kind, "message": str(error).splitlines()[0]}


def _facts(base: dict[str, Any], data: str) -> dict[str, Any]:
    splits = TRAINER.inspect_data(base)["splits"]
    counts = {
        name: {key: split[key] for key in ("images", "classes")} for name, split in splits.items()
    }
    return {"family": family_of(data), **counts}


def pack_matrix(name: str, work: Path, out: Path) -> None:
    """Write what was recorded as one compressed JSON file."""
    head = json.loads((work / f"{name}.json").read_text())
    for section in ("train_dataset", "val_dataset"):
        head["spec"]["dataset"].pop(section, None)
    lines = read_lines(work / f"{name}.jsonl")
    runs = {(line["data"], line["index"], line["seed"]): line for line in lines}
    ordered = [runs[key] for key in sorted(runs)]
    recorded = {line["data"] for line in ordered}
    head["data"] = {name: facts for name, facts in head["data"].items() if name in recorded}
    if name == "frozen":  # as `recorded_curves.py` reads it
        configs = head.pop("configs")
        ordered = [{**line, **configs[line["index"]]} for line in ordered]
    write_recording({"kind": name, **head, "runs": ordered}, out)


if __name__ == "__main__":
    main()
