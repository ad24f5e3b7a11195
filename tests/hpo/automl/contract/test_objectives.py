"""Checks 42 to 56: where metrics are read, several objectives, ask and tell, retention."""

import itertools
import json
import random
from pathlib import Path

import pytest

from hpo.automl.objectives import from_list, pareto_front
from tests.count_calls import count_calls
from tests.count_reads import bytes_read
from tests.hpo.automl.contract.pretended import Cleaner, Sdk, make_skill

TWO = ["accuracy", {"metric": "latency", "direction": "minimize", "weight": 0.5, "scale": 10}]


def told(n):
    return "Complete", f"accuracy: {0.5 + n / 10}\nlatency_ms: {10 + 5 * n}"


@pytest.mark.parametrize(
    ("log", "metric", "value"),
    [
        ("loss: 0.4\nloss: 0.3", "loss", 0.3),
        ("val_loss: 0.9\nloss_scale: 2\nloss: 0.3", "loss", 0.3),
        ("best accuracy = 0.7", "accuracy", 0.7),
        ("train_loss_epoch: 0.25", "train_loss", 0.25),
        ("Validation loss: 0.125", "val_loss", 0.125),
        ("[SFT] Validation loss: 0.5", "val_loss", 0.5),
        ("val/loss: 0.75", "val_loss", 0.75),
        ("kpi: 0.875", "anything", 0.875),
        ("val_mAP: 0.375", "mAP", 0.375),
        ("avg_latency: 12.5", "latency", 12.5),
        ("val_loss: 0.9", "loss", None),
        ("accuracy: high", "accuracy", None),
    ],
)
def test_42_43_places_in_a_log(log, metric, value):
    from hpo.automl.metrics import find_in_log

    assert find_in_log(log, metric) == value


@pytest.mark.parametrize(
    ("name", "content", "value"),
    [
        ("best_score.json", {"accuracy": 0.5}, 0.5),
        ("best_score.json", {"metric": "accuracy", "best_score": 0.625}, 0.625),
        ("best_score.json", {"metric": "loss", "best_score": 0.6}, None),
        ("deep/er/metrics.json", {"accuracy": 0.75}, 0.75),
        ("metrics.json", {"accuracy": True}, None),
        ("metrics.json", {"accuracy": float("nan")}, None),
        ("status.json", {"kpi": {"accuracy": 0.25}}, 0.25),
    ],
)
def test_44_48_places_in_files(tmp_path, name, content, value):
    from hpo.automl.artifacts import values_in_folder

    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(json.dumps(content))
    assert values_in_folder(tmp_path, ["accuracy"]).get("accuracy") == value


def written_by_chance(rng, folder):
    """A trainer, or one that starts again, writes anywhere below a folder: some of a line, too."""
    line = {"kpi": {rng.choice(["accuracy", "loss"]): rng.choice([0.25, 0.5, float("nan"), "odd"])}}
    text = json.dumps(line) + rng.choice(["\n", "\n", ""])
    match rng.randrange(6):
        case 0:
            (folder / "deep" / "metrics.json").write_text(json.dumps(line["kpi"]))
        case 1:
            (folder / "status.json").write_text(text * rng.randrange(1, 9))
        case _:
            with (folder / rng.choice(["", "deep"]) / "status.json").open("a") as file:
                file.write(text[: rng.choice([5, None])])


@pytest.mark.parametrize("seed", range(4))
def test_44_values_of_files_that_grow_are_those_of_the_files_as_they_are(tmp_path, seed):
    from hpo.automl.artifacts import FolderValues, values_in_folder

    rng, names = random.Random(seed), ["accuracy", "loss"]
    (tmp_path / "deep").mkdir()
    files = FolderValues(tmp_path, names)
    for _ in range(100):
        written_by_chance(rng, tmp_path)
        assert files.read() == values_in_folder(tmp_path, names)


def test_44_at_a_poll_only_new_lines_are_read(tmp_path):
    from hpo.automl.active_jobs import ActiveJob
    from hpo.automl.hooks import Hooks
    from hpo.automl.job_values import JobValues

    place = tmp_path / "train" / "status.json"
    place.parent.mkdir()
    place.write_text((json.dumps({"kpi": {"accuracy": 0.25}, "step": 7}) + "\n") * 100_000)
    objectives = from_list([{"metric": "accuracy", "direction": "maximize"}])
    values = JobValues(Sdk(told), objectives, Hooks(), "train")
    active = ActiveJob(rec_id=0, job_id="j", results_dir=str(tmp_path))
    values.read(active, "", is_over=False)
    for number in range(1, 6):
        with place.open("a") as file:
            file.write(json.dumps({"kpi": {"accuracy": number / 8}}) + "\n")
        read = bytes_read(lambda: values.read(active, "", is_over=False))
        assert read < 100_000 < place.stat().st_size
        assert active.values == {"accuracy": number / 8}


LINES = [
    {"epoch": 1, "kpi": {"accuracy": 0.25}},
    {"epoch": 2, "kpi": {"accuracy": 0.625, "loss": True}},
    {"epoch": 3, "kpi": {"accuracy": float("nan"), "loss": 0.5}},
    {"epoch": 4, "status": "SUCCESS"},
]


@pytest.mark.parametrize("where", ["results here", "read by the platform"])
@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param("metrics.json", '{"accuracy": 0.625, "loss": 0.5}', id="45"),
        pytest.param("train/metrics.json", '{"loss": 0.5, "accuracy": 0.625}', id="45 below"),
        pytest.param(
            "train/status.json", "\n".join(map(json.dumps, LINES)) + "\nhalf a l", id="46"
        ),
    ],
)
def test_45_46_a_job_whose_log_is_silent_is_read_by_its_files(go, tmp_path, where, file, text):
    """The last line with a finite number counts for each metric; truths are no numbers."""
    sdk = Sdk(lambda n: ("Complete", "epoch 1\n"))
    if where == "results here":
        (tmp_path / "results" / file).parent.mkdir(parents=True)
        (tmp_path / "results" / file).write_text(text)
        sdk.folders = {0: str(tmp_path / "results")}
    else:
        sdk.read_job_result_file = lambda job, place: text if place == file else None
    result = go(sdk, trials=1, settings={"objectives": ["accuracy", "loss"]})
    assert result["best"]["objective_values"] == {"accuracy": 0.625, "loss": 0.5}


def test_47_files_on_this_disk_beat_the_log(go, tmp_path):
    sdk = Sdk(lambda n: ("Complete", "accuracy: 0.1"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results/metrics.json").write_text('{"accuracy": 0.8}')
    sdk.folders = {0: str(tmp_path / "results")}
    assert go(sdk, trials=1)["best"]["metric_value"] == 0.8


@pytest.mark.parametrize(
    ("name", "direction"),
    [("WER", "minimize"), ("val latency", "minimize"), ("top1_error", "minimize"),
     ("training_time", "minimize"), ("val_uptime", "maximize"), ("accuracy", "maximize")],
)  # fmt: skip
def test_49_direction_of_names(name, direction):
    from hpo.automl.metrics import resolve_direction

    assert resolve_direction(name, "")[0] == direction


def test_50_51_values_score_and_front(go):
    result = go(Sdk(told), settings={"objectives": TWO})
    scores = [0.5 + n / 10 - 0.5 * (10 + 5 * n) / 10 for n in range(3)]
    assert [e["objective_score"] for e in result["history"]] == pytest.approx(scores)
    assert result["history"][1]["objective_values"] == {"accuracy": 0.6, "latency": 15.0}
    assert (result["best"]["rec_id"], result["best"]["metric_value"]) == (0, 0.5)
    assert [row["rec_id"] for row in result["pareto_front"]] == [0, 1, 2]
    assert result["progress"]["pareto_front_size"] == 3
    assert result["progress"]["best_objective_score"] == pytest.approx(0.0)
    taken = json.loads(Path(result["workspace_path"], "best_rec.json").read_text())
    assert (taken["metric_name"], taken["direction"]) == ("objective_score", "maximize")
    assert [row["score"] for row in taken["all_recs"]] == pytest.approx(scores)


def test_51_the_front_leaves_out_what_is_beaten(go):
    log = ["accuracy: 0.9\nlatency: 5", "accuracy: 0.8\nlatency: 6", "accuracy: 0.7\nlatency: 1"]
    result = go(Sdk(lambda n: ("Complete", log[n])), settings={"objectives": TWO})
    assert [row["rec_id"] for row in result["pareto_front"]] == [0, 2]


def drawn(count, metrics, levels):
    """Objectives, the first to be minimized, and rows of values of which few levels are equal."""
    rng = random.Random(count)
    objectives = from_list(
        {"metric": name, "direction": "maximize" if place else "minimize"}
        for place, name in enumerate(metrics)
    )
    values = [{name: rng.randrange(levels) for name in metrics} for _ in range(count)]
    rows = [{"rec_id": n, "objective_values": told} for n, told in enumerate(values)]
    return [*rows, {"rec_id": count, "objective_values": {}}], objectives


@pytest.mark.parametrize(
    ("metrics", "levels"), list(itertools.product(["a", "ab", "abc", "abcd"], [4, 30]))
)
def test_51_the_front_is_what_no_other_beats(metrics, levels):
    rows, objectives = drawn(60, metrics, levels)

    def beats(one, other):
        signs = [-1, *[1] * (len(metrics) - 1)]
        ahead = [s * (one[m] - other[m]) for s, m in zip(signs, metrics, strict=True)]
        return min(ahead) >= 0 and max(ahead) > 0

    known = [(row["rec_id"], row["objective_values"]) for row in rows[:-1]]
    unbeaten = [n for n, own in known if not any(beats(other, own) for _, other in known)]
    assert [row["rec_id"] for row in pareto_front(rows, objectives)] == unbeaten


def test_51_a_front_of_all_is_found_without_comparing_all_with_all():
    """Each point is better than another in one objective and worse in the other."""
    objectives = from_list(
        [{"metric": m, "direction": d} for m, d in (("a", "maximize"), ("b", "minimize"))]
    )

    def work(count):
        rows = [{"rec_id": n, "objective_values": {"a": n, "b": n}} for n in range(count)]
        assert len(pareto_front(rows, objectives)) == count
        return count_calls(pareto_front, rows, objectives)

    assert work(200) < 3 * work(100)


def test_52_the_short_form(go):
    short = {"include_latency": "yes", "latency_weight": 0.5, "latency_scale": 10}
    result = go(Sdk(told), settings=short)
    assert result["history"][2]["objective_score"] == pytest.approx(0.7 - 1.0)
    assert [o["metric"] for o in result["progress"]["objectives"]] == ["accuracy", "latency"]


def test_53_one_that_is_missing_fails_the_trial(go):
    entry = go(settings={"objectives": TWO}, trials=1)["history"][0]
    assert (entry["status"], entry["failure_reason"]) == ("failure", "metric not found: 'latency'")


def test_53_eval_fn_may_give_them(go):
    result = go(settings={"objectives": TWO}, trials=1,
                eval_fn=lambda rec, job: {"latency": 20, "metric_value": 0.9})  # fmt: skip
    assert result["best"]["objective_values"] == {"accuracy": 0.9, "latency": 20.0}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([], "at least one"),
        ([{"metric": "a", "weight": -1}], "at least 0"),
        ([{"metric": "a", "scale": 0}], "above 0"),
        ([{"metric": "a", "direction": "up"}], "minimize or maximize"),
        ([{"wieght": 1, "metric": "a"}], "did you mean 'weight'"),
        ([3], "a name or a mapping"),
    ],
)
def test_53_wrong_objectives_are_refused(go, wrong, words):
    with pytest.raises(ValueError, match=words):
        go(settings={"objectives": wrong})


SCHEMA = {
    "type": "object",
    "default": {"model": {"depth": 3, "rate": 0.1}},
    "properties": {"model": {"type": "object", "properties": {
        "depth": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3,
                  "automl_enabled": True},
        "rate": {"type": "number", "minimum": 0.01, "maximum": 1.0, "default": 0.1,
                 "automl_enabled": True},
    }}},
}  # fmt: skip


def test_54_55_56_ask_and_tell_over_a_bare_schema(tmp_path):
    from tao_automl import AutoML

    settings = {"algorithm": "random", "objectives": TWO, "automl_max_recommendations": 3}
    automl = AutoML(tmp_path / "ws", "forest", {}, settings, search_schema=SCHEMA)
    (rec,) = automl.next_recommendation()
    assert rec.specs == {"model.depth": 3, "model.rate": 0.1}
    rec.assign_job_id("mine-0")
    automl.report_result(rec.id, {"value": 0.5, "latency": 10})
    assert automl.get_best().objective_values == {"accuracy": 0.5, "latency": 10.0}
    assert automl.get_best().job_id == "mine-0"
    assert automl.get_required_checkpoint_job_ids() == {"mine-0"}
    (rec,) = automl.next_recommendation()
    automl.report_result(rec.id, {"accuracy": 0.9})
    progress = automl.get_progress()
    assert (progress["completed"], progress["failed"], progress["total"]) == (2, 1, 3)
    assert [row["rec_id"] for row in automl.get_pareto_front()] == [0]
    automl.finish()
    again = AutoML(tmp_path / "ws", "forest", {}, settings, resume=True, search_schema=SCHEMA)
    assert [rec.id for rec in again.next_recommendation()] == [2]
    again.finish()
    empty = {"type": "object", "default": {"a": 1}, "properties": {"a": {"type": "integer"}}}
    with pytest.raises(ValueError, match="nothing is left to search"):
        AutoML(tmp_path / "w2", "n", {}, {"algorithm": "random"}, search_schema=empty)


def test_51_the_primary_objective_stops_trials():
    from hpo.algorithms.primary import StoppedByPrimary
    from hpo.core.trial import CONTINUE, Measurement

    class Listening:
        heard = []

        def report(self, number, measurement):
            self.heard.append((number, measurement.value))
            return CONTINUE

    stopped = StoppedByPrimary(Listening(), "loss", -1.0)
    measured = Measurement(epoch=1, value=-9.0, metrics={"loss": 0.25, "latency": 4.0})
    assert stopped.report(3, measured) is CONTINUE
    stopped.report(4, Measurement(epoch=1, value=-8.0))
    assert Listening.heard == [(3, -0.25), (4, -8.0)]


def test_62_63_artifacts_of_losers_go_where_the_platform_can(go):
    sdk = Cleaner()
    go(sdk)
    assert sdk.deleted == ["job-0", "job-1"]
    sdk = Cleaner()
    go(sdk, settings={"automl_delete_intermediate_ckpt": "no"})
    assert (sdk.deleted, "validate" in sdk.order) == ([], False)
    sdk = Cleaner(told)
    go(sdk, settings={"objectives": TWO})
    assert sdk.deleted == [], "all are on the front"


def test_66_retention_is_validated_before_the_first_job(go):
    sdk = Cleaner(refuses="no route to its storage")
    with pytest.raises(NotImplementedError, match="no route"):
        go(sdk)
    assert sdk.order == ["validate"]


def test_64_65_checkpoints_inside_a_job():
    from hpo.automl.retention import keep_few
    from hpo.automl.workspace import WorkspaceFacts

    facts = WorkspaceFacts(skill_dir="", network="", metric="acc", direction="maximize",
                           algorithm="random", retention="auto")  # fmt: skip
    plain = {"train": {"checkpoint_interval": 1, "num_epochs": 9}}
    assert keep_few(plain, facts, [], 9)["train"] == {"checkpoint_interval": 9, "num_epochs": 9}
    unit = keep_few(plain, facts, ["train.checkpoint_interval_unit"], 9)["train"]
    assert unit["checkpoint_interval_unit"] == "epoch"
    own = keep_few({"train": {"checkpointer": {"monitor": "f1"}}}, facts, [], 9)["train"]
    assert own["checkpointer"] == {
        "monitor": "f1", "mode": "max", "enable_topk": True, "replace_periodic": True,
        "save_top_k": 1,
    }  # fmt: skip


def test_65_a_rung_keeps_its_last_epoch_beside_the_best(go, tmp_path):
    skill = make_skill(tmp_path / "s", defaults={"checkpointer": {}, "checkpoint_interval": 1})
    rungs = {"algorithm": "hyperband", "automl_max_epochs": 9}
    for settings, is_replaced in ((rungs, False), ({"algorithm": "random"}, True)):
        for strategy in ("auto", "best"):
            sdk = Cleaner()
            sdk.create_job = lambda image, command, specs, sdk=sdk: sdk._made(specs=specs)
            more = {"automl_checkpoint_retention_strategy": strategy}
            go(sdk, skill=skill, trials=1, settings=settings | more)
            own = sdk.jobs[0].specs["train"]
            assert own["checkpointer"]["replace_periodic"] is is_replaced
            assert own["checkpoint_interval"] == (1 if is_replaced else own["num_epochs"])


def test_65_a_bad_word_is_refused(go):
    with pytest.raises(ValueError, match="must be one of auto, best, terminal"):
        go(settings={"automl_checkpoint_retention_strategy": "newest"})
