"""The published skill folder of the recognition network, as it is: its bytes never change."""

import hashlib
import math
import os
from pathlib import Path

import pytest

from hpo import AutoML, AutoMLRunner
from hpo.automl.metrics import resolve_metric
from hpo.automl.planning import plan_request
from hpo.automl.policy import resolve_policy
from hpo.automl.request import Request
from hpo.automl.routing import AUTOML, DIRECT, decide_route
from hpo.core.errors import SpecError
from hpo.study.plan import build_base_spec, build_space
from hpo.study.skill import load_skill
from hpo.study.trainers import find_trainer
from tests.trainer.tiny import make_splits

SHARED = os.environ.get("HPO_SHARED_DIR")
SKILL = Path(SHARED or "/nonexistent") / "reference" / "skill" / "ml_recog"
pytestmark = pytest.mark.skipif(not SHARED, reason="HPO_SHARED_DIR names no shared data")

SPACE = {
    *(f"train.optim.{part}.{name}" for part in ("embedder", "trunk") for name in (
        "base_lr", "bias_lr_factor", "momentum", "weight_decay", "weight_decay_bias")),
    *(f"train.optim.{name}" for name in (
        "gamma", "miner_function_margin", "triplet_loss_margin", "warmup_factor", "warmup_iters")),
}  # fmt: skip


def digest():
    files = sorted(p for p in SKILL.rglob("*") if p.is_file())
    return [(str(p), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]


@pytest.fixture(autouse=True)
def unchanged():
    before = digest()
    yield
    assert digest() == before


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return make_splits(tmp_path_factory.mktemp("pictures"), classes=4, images=8)


def data(splits):
    return {
        "dataset.train_dataset": splits["train"],
        "dataset.val_dataset": {"reference": splits["reference"], "query": splits["query"]},
    }


def plan(splits, tmp_path, **more):
    settings = {"algorithm": "random", "metric": "kpi"} | more.pop("settings", {})
    overrides = data(splits) | more.pop("overrides", {})
    request = Request(
        skill=load_skill(SKILL), workspace=tmp_path / "ws", settings=settings,
        overrides=overrides, **more,
    )  # fmt: skip
    return plan_request(request)


def space_of(planned):
    trainer = find_trainer(planned.study.trainer)
    spec = build_base_spec(planned.study, trainer, {})
    return build_space(planned.study, trainer, spec, num_trials=None), spec


def test_19_train_becomes_a_search_unless_it_is_off():
    skill = load_skill(SKILL)
    assert decide_route(skill, "train", resolve_policy()).route == AUTOML
    assert decide_route(skill, "train", resolve_policy("off")).route == DIRECT
    assert decide_route(skill, "evaluate", resolve_policy("on")).route == DIRECT


def test_23_short_names_reach_the_spec(splits, tmp_path):
    planned = plan(splits, tmp_path, overrides={"trunk_learning_rate": 1e-3, "num_epochs": 7})
    _, spec = space_of(planned)
    assert spec["train"]["optim"]["trunk"]["base_lr"] == 1e-3
    assert spec["train"]["num_epochs"] == 7


def test_the_default_space_is_the_published_list(splits, tmp_path):
    space, _ = space_of(plan(splits, tmp_path, overrides={"train.num_epochs": 100}))
    searched = {parameter.name for parameter in space.parameters}
    pinned = {pin.name for pin in space.pinned}
    assert searched | pinned == SPACE
    assert pinned == {"train.optim.embedder.momentum", "train.optim.trunk.momentum"}


def test_28_a_batch_range_must_be_multiples_of_the_instances(splits, tmp_path):
    def space(options):
        return space_of(plan(
            splits, tmp_path, hyperparameters=["train.batch_size"],
            ranges={"train.batch_size": {"valid_options": options}},
        ))[0]  # fmt: skip

    (batch,) = space([4, 8, 12]).parameters
    assert batch.name == "train.batch_size"
    with pytest.raises(SpecError, match=r"train.batch_size.*6.*dataset.num_instance"):
        space([4, 6])


def test_29_kpi_is_precision_at_rank_1():
    skill = load_skill(SKILL)
    metric = resolve_metric("kpi", skill, find_trainer("ml_recog"))
    assert metric == "val Precision at Rank 1"


def test_a_batch_that_nobody_chose_is_raised_to_hold_two_classes(splits, tmp_path):
    facts = plan(splits, tmp_path).facts
    (batch,) = (a for a in facts.adjustments if a["param"] == "train.batch_size")
    assert (batch["from"], batch["to"]) == (4, 16)  # four classes of four


def test_54_intervals_follow_the_rungs(splits, tmp_path):
    settings = {"algorithm": "hyperband", "automl_max_epochs": 27}
    given = {"train.checkpoint_interval": 10, "train.validation_interval": 10}
    _, spec = space_of(plan(splits, tmp_path, settings=settings, overrides=given))
    train = spec["train"]
    assert (train["num_epochs"], train["checkpoint_interval"]) == (27, 1)
    assert train["validation_interval"] == 1
    _, spec = space_of(plan(splits, tmp_path, overrides=given | {"train.num_epochs": 30}))
    assert spec["train"]["checkpoint_interval"] == spec["train"]["validation_interval"] == 10


def surface(specs):
    """A made-up trainer: best near the defaults, diverged where a rate is above 0.03."""
    rates = [specs[f"train.optim.{part}.base_lr"] for part in ("trunk", "embedder")]
    if max(rates) > 0.03:
        return 0.02
    away = sum(math.log10(rate / 3.2e-4) ** 2 for rate in rates) / 4
    decays = [specs[f"train.optim.{p}.weight_decay"] for p in ("trunk", "embedder")]
    away += sum(math.log10(decay / 5e-4) ** 2 for decay in decays) / 40
    away += (specs["train.optim.triplet_loss_margin"] - 0.4) ** 2
    return 0.9 * math.exp(-away)


TAO_BRAINS = [0.031, 0.131, 0.040, 0.046, 0.041, 0.038, 0.019]
"""Best values of the published algorithms on such a surface with 20 trials (measured before)."""


@pytest.mark.parametrize(
    ("algorithm", "seeds"),
    [
        ("tpe", range(1)),
        pytest.param("tpe", range(1, 5), marks=pytest.mark.slow),
        pytest.param("bayesian", range(5), marks=pytest.mark.slow),
    ],
)
def test_55_twenty_trials_are_never_below_the_default(tmp_path, algorithm, seeds):
    for seed in seeds:
        settings = {
            "algorithm": algorithm, "metric": "kpi", "automl_max_recommendations": 20, "seed": seed,
        }  # fmt: skip
        values = []
        with AutoML(
            workspace=tmp_path / f"{seed}", network=str(SKILL), settings=settings,
            train_specs={"train.num_epochs": 30},
        ) as automl:  # fmt: skip
            while not automl.is_complete():
                for rec in automl.next_recommendation():
                    values.append(surface(rec.specs))
                    automl.report_result(rec.id, values[-1])
            best = automl.get_best().result
        assert len(values) == 20
        assert best == max(values) >= values[0]
        assert best > max(TAO_BRAINS)
        assert max(values[1:]) > max(TAO_BRAINS), "also without the default"


def test_the_unmodified_folder_is_searched_on_local_pictures(splits, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    small = {
        "model.backbone": "timm/test_resnet", "input_width": 32, "input_height": 32,
        "feat_dim": 16, "num_epochs": 1, "dataset.gaussian_blur.kernel": [3, 3],
        "dataset.workers": 0, "my_own_flag": 3,
    }  # fmt: skip
    result = AutoMLRunner(skill_dir=SKILL).run(
        automl_settings={"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 1},
        spec_overrides=data(splits) | small, workspace_path=tmp_path / "ws", in_process=True,
    )  # fmt: skip
    assert [e["status"] for e in result["history"]] == ["success"]
    assert result["baseline"]["status"] == "measured"
    assert result["final_evaluation"]["status"] == "measured"
    assert result["metric"] == "val Precision at Rank 1"
    assert any("my_own_flag" in text for text in result["warnings"])
    assert result["best"]["full_spec"]["my_own_flag"] == 3
    assert (Path(result["workspace_path"]) / "best/model.onnx").is_file()
    adjusted = {a["param"] for a in result["history"][0]["adjustments"]}
    assert "train.batch_size" in adjusted
