import json
from functools import partial

import pytest

from hpo.core.errors import RunError
from hpo.core.trial import Measurement, TrialRecord, TrialState
from hpo.run.checkpoints import best_checkpoint, choose_checkpoint, newest_checkpoint
from hpo.run.run_dir import RunDir
from tests.hpo.run.test_status_lines import Logger

METRIC = "val Precision at Rank 1"


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def published_status(folder, values, metric=METRIC):
    lines = [{"status": "STARTED"}]
    lines += [{"epoch": epoch, "kpi": {metric: value}} for epoch, value in values.items()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status.json").write_text("\n".join(json.dumps(line) for line in lines))


def own_status(folder, values):
    lines = [json.dumps({"epoch": epoch, "value": value}) for epoch, value in values.items()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status.jsonl").write_text("\n".join(lines))


def test_best_and_last_by_name(tmp_path):
    fill(tmp_path, "train/ckpt/best.ckpt", "train/ckpt/last.ckpt")
    assert choose_checkpoint(tmp_path, "best_model")[0].name == "best.ckpt"
    assert choose_checkpoint(tmp_path, "latest_model")[0].name == "last.ckpt"


def test_the_best_epoch_of_a_published_folder_comes_from_its_status(tmp_path):
    names = [f"train/ml_model_epoch={epoch:03d}.pth" for epoch in (0, 2, 10)]
    fill(tmp_path, *names, "train/ml_model_latest.pth", "train/lightning_logs/epoch=99.ckpt")
    published_status(tmp_path / "train", {0: 0.1, 2: 0.8, 10: 0.7})
    assert choose_checkpoint(tmp_path, "best_model", METRIC)[0].name == "ml_model_epoch=002.pth"
    assert choose_checkpoint(tmp_path, "latest_model")[0].name == "ml_model_epoch=010.pth"
    assert choose_checkpoint(tmp_path, 11)[0].name == "ml_model_epoch=010.pth"
    assert newest_checkpoint(tmp_path).name == "ml_model_epoch=010.pth"


@pytest.mark.parametrize(
    ("names", "trained", "epochs"),
    [
        (["_000", "_001", "_002"], None, [1, 2, 3]),
        (["_001", "_002", "_003"], None, [1, 2, 3]),
        (["_001", "_003", "_005"], 6, [2, 4, 6]),
        (["_002", "_004", "_006"], 6, [2, 4, 6]),
        (["_005"], 6, [6]),
        (["_006"], 6, [6]),
        (["_002_step_00030", "_005_step_00060"], None, [3, 6]),
        (["=2-step=30", "=5-step=60"], None, [3, 6]),
    ],
)
def test_names_that_count_from_0_are_told_from_those_that_count_from_1(
    tmp_path, names, trained, epochs
):
    """Lightning names the first epoch 0; before, the weights of the next epoch were taken."""
    fill(tmp_path, *(f"train/model_epoch{name}.pth" for name in names))
    for number in range(8):
        if number not in epochs:
            with pytest.raises(RunError, match=f"no checkpoint of epoch {number} is kept"):
                choose_checkpoint(tmp_path, number, trained=trained)
            continue
        found, how = choose_checkpoint(tmp_path, number, trained=trained)
        assert found.stem == f"model_epoch{names[epochs.index(number)]}"
        assert how == f"epoch {number}"


@pytest.mark.parametrize(
    ("numbers", "told", "trained"),
    [
        ((2, 4), (1, 2, 3, 4, 5), 5),
        ((4,), (1, 2, 3, 4, 5), 5),
        ((3, 6, 9), (3, 6, 9, 10), 10),
        ((2, 4), (), 5),
        ((3, 4), (), 5),
        ((3, 6, 9), (), 10),
        ((2, 3, 5), (), 6),
    ],
)
@pytest.mark.parametrize("write", [own_status, published_status])
def test_a_checkpoint_of_the_epoch_before_the_last_is_not_taken_for_it(
    tmp_path, write, numbers, told, trained
):
    """Of a trainer that counts from 1 and does not keep its last epoch."""
    fill(tmp_path, *(f"model_epoch_{number}.pth" for number in numbers))
    write(tmp_path, dict.fromkeys(told, 0.5))
    with pytest.raises(RunError, match=f"no checkpoint of epoch {trained} is kept"):
        choose_checkpoint(tmp_path, trained, trained=trained)
    found, _ = choose_checkpoint(tmp_path, numbers[-1], trained=trained)
    assert found.stem == f"model_epoch_{numbers[-1]}"


def test_names_count_as_the_status_beside_them_does(tmp_path):
    fill(tmp_path, "model_epoch_3.pth", "model_epoch_4.pth")
    published_status(tmp_path, {0: 0.1, 3: 0.5, 4: 0.4})
    assert choose_checkpoint(tmp_path, "best_model")[0].stem == "model_epoch_3"
    assert choose_checkpoint(tmp_path, 5)[0].stem == "model_epoch_4"


def test_checkpoints_beside_the_published_loggers_status_count_from_0(tmp_path):
    fill(tmp_path, "model_epoch_001.pth", "model_epoch_003.pth")
    lines = [
        line
        for number, value in enumerate((0.1, 0.9, 0.3, 0.4))
        for line in ({"epoch": number}, {"kpi": {METRIC: value}})
    ]
    (tmp_path / "status.json").write_text("\n".join(json.dumps(line) for line in lines))
    for wanted in ("best_model", 2):
        found, how = choose_checkpoint(tmp_path, wanted, METRIC)
        assert found.name == "model_epoch_001.pth"
        assert how.endswith("epoch, 2" if wanted == "best_model" else "epoch 2")


def test_an_epoch_from_1_on_a_line_apart_from_its_metrics_names_its_checkpoint(tmp_path):
    """Before, the weights of the epoch before were taken: by a rung that goes on, and as the best."""
    fill(tmp_path, *(f"model_epoch_{number:03d}.pth" for number in (1, 2, 3)))
    lines = [
        line
        for number, value in enumerate((0.1, 0.9, 0.3), 1)
        for line in ({"epoch": number}, {"kpi": {METRIC: value}})
    ]
    (tmp_path / "status.json").write_text("\n".join(json.dumps(line) for line in lines))
    for wanted in ("best_model", 2):
        assert choose_checkpoint(tmp_path, wanted, METRIC)[0].name == "model_epoch_002.pth"
    assert choose_checkpoint(tmp_path, 3, METRIC, trained=3)[0].name == "model_epoch_003.pth"


@pytest.mark.parametrize("is_loop_first", [True, False])
@pytest.mark.parametrize(
    ("sections", "names", "best"),
    [
        ([[0.1], [0.9, 0.5]], (0, 1, 2), 1),
        ([[0.9, 0.5]], (1, 2), 1),  # a rung from 1 to 3, in a folder of its own
        ([[0.5, 0.9]], (2,), 2),
        ([[0.5, 0.9]], (0, 1), 1),
        ([[0.5, 0.9, 0.1, 0.2]], (1, 3), 1),
        ([[0.5, 0.6, 0.1, 0.9]], (2, 4), 4),
    ],
)
def test_the_best_epoch_of_a_training_that_goes_on_after_its_first(
    tmp_path, sections, names, best, is_loop_first
):
    lines = []
    for values in sections:
        log = Logger(first=2)
        for value in values:
            log.epoch(value, is_loop_first=is_loop_first)
        lines += log.lines
    (tmp_path / "status.json").write_text("\n".join(json.dumps(line) for line in lines))
    fill(tmp_path, *(f"model_epoch_{name:03d}.pth" for name in names))
    found, how = choose_checkpoint(tmp_path, "best_model", "acc")
    assert found.stem == f"model_epoch_{best:03d}"
    if len(names) > 1:
        assert how == f"its best epoch, {best + 1}"


def test_a_loss_is_best_where_it_is_lowest(tmp_path):
    fill(tmp_path, "model_epoch_1.pth", "model_epoch_2.pth")
    published_status(tmp_path, {1: 0.9, 2: 0.2}, "val_loss")
    assert choose_checkpoint(tmp_path, "best_model", "val_loss")[0].name == "model_epoch_2.pth"


@pytest.mark.parametrize(
    ("write", "metric", "direction"),
    [
        (own_status, "val_loss", ""),
        (own_status, "", "minimize"),
        (own_status, "eer", "minimize"),
        (own_status, "val_precision", "minimize"),
        (partial(published_status, metric="val_loss"), "val_loss", ""),
        (partial(published_status, metric="val_loss"), "", ""),
        (partial(published_status, metric="error rate"), "error rate", ""),
        (partial(published_status, metric="eer"), "eer", "minimize"),
    ],
)
def test_less_is_better_of_whichever_file_is_meant(tmp_path, write, metric, direction):
    """Epoch 2 is the best, so `best.ckpt` is of it and nothing is of epoch 1."""
    write(tmp_path / "named", {1: 0.9, 2: 0.5, 3: 0.6})
    fill(tmp_path / "named", "ckpt/best.ckpt", "ckpt/last.ckpt")

    def chosen(folder, wanted):
        return choose_checkpoint(tmp_path / folder, wanted, metric, direction=direction)[0].name

    assert chosen("named", 2) == "best.ckpt"
    assert chosen("named", 3) == "last.ckpt"
    with pytest.raises(RunError, match="no checkpoint of epoch 1 is kept; there are 2, 3"):
        chosen("named", 1)
    write(tmp_path / "numbered", {1: 0.9, 2: 0.5, 3: 0.6})
    fill(tmp_path / "numbered", *(f"epoch_{epoch}.pth" for epoch in (1, 2, 3)))
    assert chosen("numbered", "best_model") == "epoch_2.pth"


@pytest.mark.parametrize(("direction", "epoch"), [("minimize", 2), ("maximize", 1)])
def test_a_trials_best_epoch_is_that_of_its_searchs_direction(tmp_path, direction, epoch):
    own_status(tmp_path / "job", {1: 0.9, 2: 0.5, 3: 0.6})
    fill(tmp_path / "job", *(f"epoch_{number}.pth" for number in (1, 2, 3)))
    trial = TrialRecord(
        number=0, state=TrialState.COMPLETE, params={}, latents={}, until_epoch=3
    )  # fmt: skip
    found = best_checkpoint(RunDir(tmp_path / "run"), trial, direction, str(tmp_path / "job"))
    assert found.name == f"epoch_{epoch}.pth"


KPIS = [{"model_parameters": 5.0}, {"val_loss": 0.9, "val_acc": 0.4}, {"val_loss": 0.5, "val_acc": 0.7},
        {"val_loss": 0.6, "val_acc": 0.5}]  # fmt: skip


@pytest.mark.parametrize("metric", ["", "val_acc", "val acc"])
def test_the_last_epoch_is_that_of_any_line(tmp_path, metric):
    """The first line tells another metric than the later ones."""
    lines = [{"epoch": max(k, 1), "kpi": kpi} for k, kpi in enumerate(KPIS)]
    (tmp_path / "status.json").write_text("\n".join(map(json.dumps, lines)))
    fill(tmp_path, "last.ckpt", "best.ckpt")
    assert choose_checkpoint(tmp_path, 3, metric, direction="maximize")[0].name == "last.ckpt"
    if metric:
        assert choose_checkpoint(tmp_path, 2, metric, direction="maximize")[0].name == "best.ckpt"


@pytest.mark.parametrize(
    ("told", "epoch"),
    [((), 2), (("val_acc", "maximize"), 2), (("val_loss", "maximize"), 1)],
    ids=["the first metric, a loss", "the search's metric", "as it is asked"],
)
def test_a_searchs_direction_is_not_that_of_another_metric(tmp_path, told, epoch):
    """The checkpoint of the best epoch, 9, was not kept."""
    lines = [{"epoch": k, "kpi": kpi} for k, kpi in enumerate(KPIS[1:], start=1)]
    (tmp_path / "job").mkdir()
    (tmp_path / "job/status.json").write_text("\n".join(map(json.dumps, lines)))
    fill(tmp_path / "job", *(f"epoch_{number}.pth" for number in (1, 2, 3)))
    trial = TrialRecord(
        number=0, state=TrialState.COMPLETE, params={}, latents={}, until_epoch=9
    )  # fmt: skip
    trial.measurements.append(Measurement(epoch=9, value=0.8))
    run, job = RunDir(tmp_path / "run"), str(tmp_path / "job")
    assert best_checkpoint(run, trial, "maximize", job, *told).name == f"epoch_{epoch}.pth"


@pytest.mark.parametrize(
    ("metric", "told"),
    [("loss", "train_loss"), ("mAP", "val_mAP"), ("acc", "acc_epoch"), ("val acc", "Val_ACC")],
)
def test_the_best_epoch_is_told_by_what_the_search_finds_the_metric_as(tmp_path, metric, told):
    values = {1: 0.9, 2: 0.2, 3: 0.3} if metric == "loss" else {1: 0.2, 2: 0.9, 3: 0.3}
    published_status(tmp_path, values, told)
    fill(tmp_path, "model_epoch_1.pth", "model_epoch_2.pth")
    assert choose_checkpoint(tmp_path, "best_model", metric)[0].name == "model_epoch_2.pth"
    fill(tmp_path / "other", "best.pth", "last.pth")
    published_status(tmp_path / "other", values, told)
    assert choose_checkpoint(tmp_path / "other", 2, metric)[0].name == "best.pth"
    assert choose_checkpoint(tmp_path / "other", 3, metric)[0].name == "last.pth"


def test_where_no_file_tells_the_best_epoch_that_of_the_search_is_taken(tmp_path):
    fill(tmp_path, "epoch_1.pth", "epoch_2.pth")
    assert choose_checkpoint(tmp_path, "best_model", best=1)[0].name == "epoch_1.pth"
    published_status(tmp_path, {1: 0.1, 2: 0.9})
    assert choose_checkpoint(tmp_path, "best_model", METRIC, best=1)[0].name == "epoch_2.pth"


def test_epochs_of_best_and_last_are_known_from_the_status(tmp_path):
    fill(tmp_path, "ckpt/best.ckpt", "ckpt/last.ckpt")
    own_status(tmp_path, {1: 0.1, 2: 0.9, 3: 0.8})
    assert choose_checkpoint(tmp_path, 2)[0].name == "best.ckpt"
    assert choose_checkpoint(tmp_path, "3")[0].name == "last.ckpt"
    with pytest.raises(RunError, match="no checkpoint of epoch 1 is kept; there are 2, 3"):
        choose_checkpoint(tmp_path, 1, name="train-1")


@pytest.mark.parametrize(
    ("names", "wanted", "said"),
    [
        ((), "best_model", "no checkpoint in"),
        (("a_latest.pth",), "best_model", "no checkpoint in"),
        (("epoch_1.pth", "epoch_2.pth"), "best_model", "status.json tells no best epoch"),
        (("one.pth", "two.pth"), "latest_model", "the newest cannot be told"),
        (("epoch_1.pth",), "newest", "must be best_model, latest_model or the number of an epoch"),
    ],
)
def test_nothing_is_guessed(tmp_path, names, wanted, said):
    fill(tmp_path, *names)
    with pytest.raises(RunError, match=said):
        choose_checkpoint(tmp_path, wanted, name="train-1")


def test_the_file_of_the_best_epoch_may_be_gone(tmp_path):
    fill(tmp_path, "epoch_1.pth", "epoch_3.pth")
    published_status(tmp_path, {1: 0.1, 2: 0.9, 3: 0.2})
    with pytest.raises(RunError, match="none is of epoch 2"):
        choose_checkpoint(tmp_path, "best_model", METRIC)


def test_a_folder_that_was_never_trained_in_has_no_newest(tmp_path):
    assert newest_checkpoint(tmp_path) is None
