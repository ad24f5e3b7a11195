"""Scores of queries as pictures of classes that a whole network was not trained on."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.trainer.tiny import make_folders, make_splits, train_spec
from trainer.actions.evaluate import embed_splits
from trainer.actions.predict import describe_threshold, describe_unknowns
from trainer.array_files import save_arrays
from trainer.config.shape import flatten
from trainer.cross_training import HEAD_EPOCHS, CrossTraining, _read_scores
from trainer.errors import DataError
from trainer.gallery import GalleryIndex
from trainer.retrieval import normalize
from trainer.session import TRAINER
from trainer.spec import parse_spec, spec_to_dict

CLASSES = 11


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    splits = make_splits(tmp_path_factory.mktemp("pictures"), classes=CLASSES, images=6)
    queries = Path(splits["query"])
    return splits | {
        "query": str(make_folders(queries.with_name("more"), classes=CLASSES, images=4))
    }


def trained_until(until, pictures, folder, file, *, epochs, **changes):
    """Train up to an epoch, keep the checkpoint as `file`, and return the spec."""
    spec = train_spec(pictures, folder, train__num_epochs=epochs, **changes)
    TRAINER.fit(spec, lambda report: report["epoch"] < until)
    shutil.copyfile(folder / "ckpt" / "last.ckpt", file)
    return spec


def exported(folder, pictures, *, epochs=2, until=2, **changes):
    """Train a network up to an epoch, and export it as the harness does."""
    best = folder / "best"
    best.mkdir()
    spec = trained_until(
        until, pictures, folder / "run", best / "model.ckpt", epochs=epochs, **changes
    )
    files = {"export.checkpoint": f"{best}/model.ckpt", "export.onnx_file": f"{best}/model.onnx"}
    TRAINER.export(spec | files)
    (best / "spec.yaml").write_text(yaml.safe_dump(flatten(spec)))
    return best


def say_otherwise(best, **changes):
    """Let an export say that it was trained with other keys."""
    file = best / "spec.yaml"
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))


@pytest.fixture(scope="module")
def made(tmp_path_factory, pictures):
    return exported(tmp_path_factory.mktemp("made"), pictures)


@pytest.fixture
def best(made, tmp_path):
    """A copy of the export, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "best"))


class Fits:
    """Trains for real; keeps what was asked for, and the checkpoint that came of it."""

    def __init__(self, folder, *, fails_at=None):
        self.folder, self.fails_at, self.calls, self.resumed = folder, fails_at, [], []

    def __call__(self, spec, report, resume_from=None):
        if len(self.calls) == self.fails_at:
            raise KeyboardInterrupt
        self.calls.append(spec)
        self.resumed.append(resume_from)
        TRAINER.fit(spec, report, resume_from)
        self.folder.mkdir(exist_ok=True)
        kept = self.folder / f"{len(self.calls)}.ckpt"
        shutil.copyfile(Path(spec["results_dir"]) / "ckpt" / "last.ckpt", kept)
        shutil.copyfile(spec["dataset.train_dataset"], kept.with_suffix(".csv"))

    def trained_on(self, number):
        with (self.folder / f"{number}.csv").open() as file:
            return [row["label"] for row in csv.DictReader(file)]


def quiet(what, done, total):
    pass


def score(gaps, labels, classes):
    """The score by hand: nearest class less three quarters of the mean of the next three."""
    first, *others = sorted(gaps[labels == c].min() for c in classes)
    return first - 0.75 * np.mean(others[:3])


def test_scores_are_those_against_classes_that_the_network_saw(best, tmp_path):
    trainings = 3  # not the default
    plain = GalleryIndex.load(best / "gallery.npz")
    assert plain.calibration.is_trained_Q.all()
    work = CrossTraining(best, trainings)
    fits, told = Fits(tmp_path / "kept"), []
    result = work.calibrate(
        tmp_path / "work", fits, lambda what, done, total: told.append((what, done, total))
    )
    gallery = GalleryIndex.load(best / "gallery.npz")
    assert result["trainings"] == len(fits.calls) == trainings
    assert result["queries"] == len(gallery.queries.names) == 4 * CLASSES
    assert result["unknowns"] == describe_unknowns(best)
    assert result["unknowns"]["threshold"] == describe_threshold(best, 0.05)
    assert not result["unknowns"]["threshold"]["is_of_trained"]
    assert told[:3] == [(f"training 1 of {trainings}", n, 2) for n in range(3)]
    seen = [set(fits.trained_on(n)) for n in range(1, trainings + 1)]
    assert sorted(name for fold in work.folds for name in fold) == sorted(plain.class_names)
    assert {len(fold) for fold in work.folds} <= {CLASSES // trainings, -(-CLASSES // trainings)}
    for number, fold in enumerate(work.folds, start=1):
        assert seen[number - 1] == set(plain.class_names) - fold
        assert len(fits.trained_on(number)) == 6 * (CLASSES - len(fold))
        spec = fits.calls[number - 1] | {
            "dataset.train_dataset": "", "evaluate.checkpoint": f"{fits.folder}/{number}.ckpt"
        }  # fmt: skip
        index, _, emb_QD, query = embed_splits(parse_spec(spec, "evaluate"))
        classes = [c for c, name in enumerate(index.class_names) if name not in fold]
        unit_QD = normalize(emb_QD)
        for row, label in enumerate(query.labels):
            if index.class_names[label] in fold:
                gaps = np.linalg.norm(index.emb_GD - unit_QD[row], axis=1)
                by_hand = score(gaps, index.labels_G, classes)
                assert gallery.calibration.outside_Q[row] == pytest.approx(by_hand, abs=3e-3)
    assert gallery.calibration.inside_Q == pytest.approx(plain.calibration.inside_Q)


def test_finished_trainings_are_not_made_again(best, tmp_path):
    stopped = Fits(tmp_path / "kept", fails_at=1)
    with pytest.raises(KeyboardInterrupt):
        CrossTraining(best).calibrate(tmp_path / "work", stopped, quiet)
    assert GalleryIndex.load(best / "gallery.npz").queries.shift_Q is None
    again = Fits(tmp_path / "kept")
    assert CrossTraining(best).calibrate(tmp_path / "work", again, quiet)["trainings"] == 1
    assert len(again.calls) == 1
    shifts = GalleryIndex.load(best / "gallery.npz").queries.shift_Q
    assert np.isfinite(shifts).all()
    assert CrossTraining(best).calibrate(tmp_path / "work", again, quiet)["trainings"] == 0
    assert np.array_equal(GalleryIndex.load(best / "gallery.npz").queries.shift_Q, shifts)
    assert not list((tmp_path / "work").rglob("*.ckpt"))
    # One whose classes or queries were others counts for nothing.
    first, second = sorted((tmp_path / "work").rglob("scores.npz"))
    shutil.copyfile(second, first)
    assert CrossTraining(best).calibrate(tmp_path / "work", again, quiet)["trainings"] == 1
    assert np.array_equal(GalleryIndex.load(best / "gallery.npz").queries.shift_Q, shifts)
    # Nor does a damaged one.
    for damaged in (b"", second.read_bytes()[:-30], None):
        if damaged is None:
            save_arrays(first, {"scores": shifts})
        else:
            first.write_bytes(damaged)
        assert _read_scores(first, (), frozenset()) is None
    # Others than these are of no more use.
    (tmp_path / "work" / ".DS_Store").touch()  # and what is not ours stays
    (tmp_path / "work" / "notes").mkdir()
    with pytest.raises(KeyboardInterrupt):
        CrossTraining(best, 3).calibrate(tmp_path / "work", Fits(tmp_path, fails_at=0), quiet)
    left = sorted(path.name[-9:] for path in (tmp_path / "work").iterdir())
    assert [name[-2:] for name in left if name not in {".DS_Store", "notes"}] == ["-3"]
    assert len(left) == 3


def test_a_training_that_was_cut_off_goes_on_from_its_last_epoch(best, tmp_path):
    def killed(spec, report, resume_from=None):
        TRAINER.fit(spec, lambda epoch: False)  # one epoch is on the disk
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CrossTraining(best).calibrate(tmp_path / "work", killed, quiet)
    fits = Fits(tmp_path / "kept")
    CrossTraining(best).calibrate(tmp_path / "work", fits, quiet)
    assert [bool(path) for path in fits.resumed] == [True, False]
    kept = torch.load(tmp_path / "kept" / "1.ckpt", weights_only=True)
    assert kept["progress"]["epoch"] == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"train__checkpoint_interval": 5, "train__validation_interval": 3}
        | {"train__resume_training_checkpoint_path": "model.ckpt"},
        {"train__checkpoint_interval": 4, "train__checkpoint_interval_unit": "step"}
        | {"train__batch_size": 28, "train__optim__warmup_iters": 20},
    ],
    ids=["written and measured seldom, resumed", "written by steps, large batches"],
)
def test_it_ends_with_the_models_epoch_however_the_model_was_trained(
    best, tmp_path, monkeypatch, changes
):
    monkeypatch.chdir(best)
    say_otherwise(best, train__num_epochs=7, **changes)
    fits, work = Fits(tmp_path / "kept"), CrossTraining(best)
    work.calibrate(tmp_path / "work", fits, quiet)
    assert np.isfinite(GalleryIndex.load(best / "gallery.npz").queries.shift_Q).all()
    for number, fold in enumerate(work.folds, start=1):
        kept = torch.load(fits.folder / f"{number}.ckpt")
        classes = CLASSES - len(fold)
        batch = min(changes.get("train__batch_size", 16), 4 * classes)
        steps = 6 * classes // batch  # an epoch
        assert [entry["epoch"] for entry in kept["history"]] == [1, 2]
        assert kept["history"][-1]["value"] is not None
        facts = {key: kept["progress"][key] for key in ("epoch", "batch", "step")}
        assert facts == {"epoch": 2, "batch": 0, "step": 2 * steps}
        assert kept["spec"]["train"]["batch_size"] == batch
        # The same share of the run as of the model's.
        of_model = 6 * CLASSES // changes.get("train__batch_size", 16)
        warm_up = changes.get("train__optim__warmup_iters", 10) * steps / of_model
        assert kept["spec"]["train"]["optim"]["warmup_iters"] == round(warm_up)


SOFT = {"train__loss__name": "normalized_softmax", "dataset__sampling": "random"}


@pytest.fixture(scope="module")
def made_from_head(tmp_path_factory, pictures):
    """The checkpoint of a head, and an export of a network that began with it."""
    folder = tmp_path_factory.mktemp("from_head")
    head = folder / "head.ckpt"
    trained_until(
        3, pictures, folder / "head", head, epochs=5, train__train_trunk=False,
        dataset__feature_views=0, **SOFT,
    )  # fmt: skip
    payload = torch.load(head)
    payload["spec"]["train"] |= {"checkpoint_interval": 2, "batch_size": 40}
    torch.save(payload, head)
    whole = {"train__head_checkpoint": str(head), **SOFT}
    return head, exported(folder, pictures, epochs=4, until=1, **whole)


@pytest.mark.parametrize("is_gone", [False, True])
def test_it_trains_as_long_as_the_model_and_from_a_head_of_its_own(
    made_from_head, tmp_path, is_gone
):
    """The head has been moved with the export, or is gone."""
    head = tmp_path / "head.ckpt"
    shutil.copyfile(made_from_head[0], head)
    best = Path(shutil.copytree(made_from_head[1], tmp_path / "best"))
    say_otherwise(best, train__head_checkpoint="/before/head.ckpt", results_dir="/before/best")
    if is_gone:
        head.unlink()
    fits = Fits(tmp_path / "kept")
    work = CrossTraining(best)
    work.calibrate(tmp_path / "work", fits, quiet)
    payloads = [torch.load(fits.folder / f"{n + 1}.ckpt") for n in range(len(fits.calls))]
    wholes = [place for place, spec in enumerate(fits.calls) if spec["train.train_trunk"]]
    for fold, place in zip(work.folds, wholes, strict=True):
        assert not fold & set(payloads[place]["class_names"])
        assert payloads[place]["progress"]["epoch"] == 1
        if is_gone:
            assert payloads[place]["progress"]["head_epochs"] == HEAD_EPOCHS
        else:
            own = payloads[place - 1]
            assert own["class_names"] == payloads[place]["class_names"]
            assert own["progress"]["epoch"] == 3
            assert own["spec"]["train"]["batch_size"] == 6 * (CLASSES - len(fold))
            assert payloads[place]["progress"]["head_from"].endswith("training/head/ckpt/last.ckpt")
    assert len(fits.calls) == (2 if is_gone else 4)


def test_what_cannot_be_calibrated_is_said(best, pictures, tmp_path):
    for trainings in (0, 1):
        with pytest.raises(DataError, match=f"must be 2 or more, got {trainings}"):
            CrossTraining(best, trainings)
    with pytest.raises(
        DataError, match="12 trained classes with gallery pictures are needed for 12 .*, got 11"
    ):
        CrossTraining(best, 12)
    say_otherwise(best, train__train_trunk=False)
    CrossTraining(best)  # of an export that had no training pictures
    gallery = GalleryIndex.load(best / "gallery.npz")
    shift_Q = np.zeros(len(gallery.queries.names), dtype=np.float32)
    replace(gallery, queries=replace(gallery.queries, shift_Q=shift_Q)).save(best / "gallery.npz")
    with pytest.raises(DataError, match="already, as its trunk was not trained: there is"):
        CrossTraining(best)
    others = tmp_path / "others"
    for folder in Path(pictures["train"]).iterdir():
        shutil.copytree(folder, others / f"other_{folder.name}")
    (tmp_path / "disjoint").mkdir()
    disjoint = exported(tmp_path / "disjoint", pictures | {"train": str(others)}, epochs=1, until=1)
    with pytest.raises(DataError, match="already, as it was trained on no class of a query: there"):
        CrossTraining(disjoint)
    few = {name: f"{tmp_path}/{name}" for name in pictures}
    for name, folder in pictures.items():
        shutil.copytree(folder, few[name])
        for number in (1, 4):
            shutil.rmtree(Path(few[name]) / f"class_{number:02d}")
    (tmp_path / "few").mkdir()
    with pytest.raises(
        DataError, match="10 trained classes with gallery pictures are .* for 2 .*, got 9"
    ):
        CrossTraining(exported(tmp_path / "few", few, epochs=1, until=1))


def test_other_queries_than_those_of_the_export_are_refused(best, pictures, tmp_path):
    query = tmp_path / "query"
    shutil.copytree(pictures["query"], query)
    (query / "class_03" / "00.png").unlink()
    say_otherwise(best, dataset__val_dataset__query=str(query))
    work = CrossTraining(best)
    with pytest.raises(DataError, match=r"gallery.npz: its validation queries must be those of"):
        work.calibrate(tmp_path / "work", Fits(tmp_path / "kept"), quiet)
    assert spec_to_dict(work._spec)["dataset"]["val_dataset"]["query"] == str(query)
