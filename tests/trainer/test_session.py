import inspect
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from trainer.errors import SpecError
from trainer.gallery import build_gallery
from trainer.session import TRAINER

SIZES = {"a": 30, "b": 20, "c": 50}


@pytest.fixture
def train_folder(tmp_path):
    """100 files named as pictures in three classes; only their names are looked at."""
    for name, size in SIZES.items():
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        for index in range(size):
            (folder / f"{index}.jpg").write_bytes(b"")
        (folder / "notes.txt").write_text("no picture")
    return tmp_path / "train"


def test_import_needs_neither_torch_nor_numpy():
    code = (
        "import sys, trainer.session as s; s.TRAINER.validate({}); s.TRAINER.inactive({});"
        "s.TRAINER.limits({}); print(sorted({'torch', 'numpy', 'hpo', 'timm', 'PIL'} & "
        "set(sys.modules)), s.TRAINER.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[] ml_recog\n"


def test_it_fulfils_the_protocol_of_the_harness():
    protocol = pytest.importorskip("hpo.core.protocols").Trainer
    for name, member in inspect.getmembers(protocol, inspect.isfunction):
        if not name.startswith("_"):
            wanted = list(inspect.signature(member).parameters)[1:]
            assert list(inspect.signature(getattr(TRAINER, name)).parameters) == wanted, name
    for name in protocol.__annotations__:
        assert hasattr(TRAINER, name), name


def test_attributes_name_what_is_in_the_skill_folder_and_the_spec():
    assert (TRAINER.skill_dir / "schemas" / "train.schema.json").is_file()
    nested = TRAINER.validate({})
    for path in (TRAINER.epochs_key, TRAINER.seed_key, *TRAINER.multiple_of.values()):
        value = nested
        for part in path.split("."):
            value = value[part]
        assert isinstance(value, int)


def test_validate_fills_defaults_and_repeats_itself():
    once = TRAINER.validate({"train.num_epochs": 3, "model": {"backbone": "timm/resnet18"}})
    assert once["train"]["num_epochs"] == 3
    assert once["train"]["optim"]["trunk"]["base_lr"] == 3.5e-4
    assert TRAINER.validate(once) == once


def test_validate_says_what_is_wrong():
    with pytest.raises(SpecError, match=r"^train\.optim\.trunk\.base_lr: must be > 0 and <= 1"):
        TRAINER.validate({"train": {"optim": {"trunk": {"base_lr": 2}}}})


def test_inactive_takes_dotted_keys_of_a_trial():
    assert "train.optim.trunk.momentum" in TRAINER.inactive({})
    assert "train.optim.trunk.momentum" not in TRAINER.inactive({"train.optim.name": "SGD"})


def test_without_pictures_only_the_two_classes_of_a_batch_limit():
    assert TRAINER.limits({}) == {"train.batch_size": (8, None)}
    assert TRAINER.limits({"train.loss.name": "arcface"}) == {}
    missing = {"dataset.train_dataset": "/no/such/folder"}
    assert TRAINER.limits(missing) == {"train.batch_size": (8, None)}


@pytest.mark.parametrize(
    ("overrides", "half"),
    [
        ({}, 15),  # 100 // 32 = 3 batches, 10 epochs, 30 steps
        ({"train.num_epochs": 7}, 10),  # 21 steps
        ({"train.accumulate_grad_batches": 2}, 10),  # 2 steps an epoch, the second of one batch
        ({"train.batch_size": 8, "train.num_gpus": 2, "train.gpu_ids": [0, 1]}, 30),  # 6 an epoch
        ({"train.batch_size": 200, "train.num_epochs": 1}, 1),
    ],
)
def test_warm_up_is_limited_to_half_of_the_optimizer_steps(train_folder, overrides, half):
    limits = TRAINER.limits({"dataset.train_dataset": str(train_folder)} | overrides)
    assert limits["train.optim.warmup_iters"] == (None, half)


def test_batch_holds_two_classes_and_no_more_than_there_are(train_folder):
    spec = {"dataset.train_dataset": str(train_folder)}
    assert TRAINER.limits(spec)["train.batch_size"] == (8, 12)
    assert TRAINER.limits(spec | {"dataset.num_instance": 2})["train.batch_size"] == (4, 6)
    assert TRAINER.limits(spec | {"train.loss.name": "arcface"})["train.batch_size"] == (None, 12)
    any_pictures = {"train.loss.name": "arcface", "dataset.sampling": "random"}
    assert TRAINER.limits(spec | any_pictures)["train.batch_size"] == (None, 100)


def test_an_address_on_this_machine_is_counted_too(train_folder):
    place = str(train_folder)
    assert TRAINER.limits({"dataset.train_dataset": f"file://{place}"}) == TRAINER.limits(
        {"dataset.train_dataset": place}
    )


def test_an_archive_is_counted_too(train_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    archive = tmp_path / "train.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(train_folder, arcname="train")
    assert TRAINER.limits({"dataset.train_dataset": str(archive)}) == TRAINER.limits(
        {"dataset.train_dataset": str(train_folder)}
    )


def test_sources_become_spec_keys():
    sources = {"train": "t", "reference": "r", "query": "q", "weights": "w.pth"}
    overrides = TRAINER.data_overrides(sources | {"test_query": "secret"})
    assert overrides == {
        "dataset.train_dataset": "t",
        "dataset.val_dataset.reference": "r",
        "dataset.val_dataset.query": "q",
        "model.pretrained_trunk_path": "w.pth",
    }
    assert TRAINER.validate(overrides)["dataset"]["val_dataset"]["query"] == "q"


def test_source_of_another_name_is_refused():
    with pytest.raises(SpecError, match="gallery: no such source; the sources are train, ref"):
        TRAINER.data_overrides({"gallery": "g"})


@pytest.mark.parametrize("method", ["inspect_data", "probe"])
def test_sources_must_be_given_where_pictures_are_needed(method):
    with pytest.raises(SpecError, match=r"dataset\.train_dataset: must be given for train"):
        getattr(TRAINER, method)({})


@pytest.mark.parametrize(
    "files",
    [
        ("a/red/0.png", "a/green/0.png"),
        ("shots/0.png", "shots/1.png"),
        ("red/0.png", "b/deep/green/1.png"),
    ],
)
def test_a_list_is_staged_as_the_folder_that_a_gallery_of_it_is_relative_to(tmp_path, files):
    rows = []
    for label, name in zip(("red", "green"), files, strict=True):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), label).save(tmp_path / "photos" / name)
        rows.append(f"photos/{name},{label}")
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    paths = [tmp_path / "photos" / name for name in files]
    gallery = build_gallery(np.eye(2), np.arange(2), ("red", "green"), paths)
    folder = TRAINER.stage(str(tmp_path / "list.csv"))
    assert [folder / path for path in gallery.paths] == paths


@pytest.mark.parametrize("method", ["probe", "measure", "screen"])
def test_a_network_that_cannot_be_exported_is_refused_before_a_search(
    tmp_path, monkeypatch, method
):
    from tests.trainer.tiny import make_splits, train_spec

    spec = train_spec(make_splits(tmp_path / "pictures"), tmp_path / "run")
    ask = getattr(TRAINER, method)
    assert ask(spec)
    monkeypatch.setattr("trainer.onnx_model.MOST_BYTES", 1_400_000)
    with pytest.raises(
        SpecError, match=r"^model\.backbone: .* 1\.4 MB of weights, .*, got timm/test"
    ):
        ask(spec)
