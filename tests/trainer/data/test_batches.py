import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.data.batches import build_data
from trainer.distributed import Rank
from trainer.errors import DataError, SpecError


@pytest.fixture
def spec(make_folder, make_spec):
    train = make_folder("train", {"a": 6, "b": 6, "c": 6})
    reference = make_folder("reference", {"a": 2, "b": 2, "x": 1})
    query = make_folder("query", {"a": 3, "x": 4})
    return make_spec(train, reference, query)


def drawn(data, epoch):
    return [(images.clone(), labels.clone()) for images, labels in data.train_batches(epoch)]


def test_training_batches_have_the_promised_form(spec):
    data = build_data(spec, "cpu")
    batches = drawn(data, 0)
    assert len(batches) == data.num_batches == 18 // 4
    assert data.num_classes == 3
    for images, labels in batches:
        assert images.shape == (4, 3, 16, 32)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64
        assert labels[0] == labels[1] != labels[2] == labels[3]


def test_images_and_labels_belong_together(make_folder, make_spec, tmp_path):
    for value, name in enumerate(("a", "b", "c")):
        (tmp_path / "flat" / name).mkdir(parents=True)
        for i in range(4):
            image = Image.new("RGB", (20, 20), (value * 100,) * 3)
            image.save(tmp_path / "flat" / name / f"{i}.png")
    spec = make_spec(tmp_path / "flat", re_prob=0.0)
    color = dataclasses.replace(spec.dataset.color_augmentation, enabled=False)
    dataset = dataclasses.replace(spec.dataset, color_augmentation=color)
    for images, labels in build_data(
        dataclasses.replace(spec, dataset=dataset), "cpu"
    ).train_batches(0):
        grey = (images[:, 0].mean((1, 2)) * 0.226 + 0.485) * 255
        torch.testing.assert_close(grey, labels * 100.0, atol=0.1, rtol=0)


def test_an_epoch_can_be_drawn_again_alone(spec):
    first = build_data(spec, "cpu")
    drawn(first, 0)
    later = drawn(first, 1)
    again = drawn(build_data(spec, "cpu"), 1)
    for (images, labels), (same_images, same_labels) in zip(later, again, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)


def test_epochs_and_seeds_differ(spec):
    other = dataclasses.replace(spec, train=dataclasses.replace(spec.train, seed=8))
    data = build_data(spec, "cpu")
    zero = drawn(data, 0)[0][0]
    assert not torch.equal(zero, drawn(data, 1)[0][0])
    assert not torch.equal(zero, drawn(build_data(other, "cpu"), 0)[0][0])


def test_processes_get_different_pictures(spec):
    shares = [build_data(spec, "cpu", share=Rank(rank=r, world_size=2)) for r in range(2)]
    assert [data.num_batches for data in shares] == [2, 2]
    assert not torch.equal(drawn(shares[0], 0)[0][0], drawn(shares[1], 0)[0][0])


def test_cut_evaluation_images_are_the_middle_and_training_sees_the_margin(make_folder, make_spec):
    """Pictures whose middle is black and whose margin is white, at the size they are stored."""
    from trainer.data.framing import SQUASHED

    folders = [make_folder(name, {"a": 4, "b": 4}) for name in ("train", "reference", "query")]
    for path in (p for folder in folders for p in folder.rglob("*.png")):
        pixels = np.full((20, 40, 3), 255, dtype=np.uint8)
        pixels[2:18, 4:36] = 0
        Image.fromarray(pixels).save(path)
    plain = dataclasses.replace(make_spec().dataset.color_augmentation, enabled=False)
    spec = make_spec(*folders, crop_share=0.8, re_prob=0.0, color_augmentation=plain)
    data = build_data(spec, "cpu")
    black = (0.0 - 0.485) / 0.226
    for split in ("train", "reference", "query"):
        seen = torch.cat(list(data.eval_batches(split, 3)))
        assert seen.shape == (8, 3, 16, 32)
        torch.testing.assert_close(seen[:, 0], torch.full((8, 16, 32), black))
    reds = torch.cat([images[:, 0] for images, _ in drawn(data, 0)])
    assert reds.min() == pytest.approx(black, abs=1e-3)
    assert reds.max() > 1.0
    assert data.framing.cut.share == 0.8
    assert build_data(make_spec(*folders), "cpu").framing == SQUASHED


def test_evaluation_images_are_resized_and_normalised_in_order(spec):
    data = build_data(spec, "cpu", need_train=False)
    batches = list(data.eval_batches("query", 3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    for path, image in zip(data.query.paths, torch.cat(batches), strict=True):
        pixels = np.asarray(Image.open(path).resize((32, 16), Image.Resampling.BILINEAR))
        expected = (pixels / 255 - [0.485, 0.456, 0.406]) / 0.226
        np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), expected, atol=3e-6)


def test_reference_and_query_share_one_index(spec):
    data = build_data(spec, "cpu")
    assert data.reference.class_names == data.query.class_names == ("a", "b", "x")
    assert data.query.labels.tolist() == [0, 0, 0, 2, 2, 2, 2]


def test_grey_input_gives_one_channel(spec):
    model = dataclasses.replace(spec.model, input_channels=1)
    data = build_data(dataclasses.replace(spec, model=model), "cpu")
    assert next(data.train_batches(0))[0].shape == (4, 1, 16, 32)
    assert next(data.eval_batches("reference", 2)).shape == (2, 1, 16, 32)


def test_what_the_spec_lacks_is_said_when_it_is_asked_for(make_folder, make_spec):
    data = build_data(make_spec("", make_folder("r", {"a": 1})), "cpu", need_train=False)
    assert data.train is None
    assert data.query is None
    with pytest.raises(SpecError, match=r"dataset\.train_dataset"):
        next(data.train_batches(0))
    with pytest.raises(SpecError, match=r"dataset\.train_dataset"):
        _ = data.num_classes
    with pytest.raises(SpecError, match=r"dataset\.val_dataset.query"):
        next(data.eval_batches("query", 2))


def test_too_few_classes_for_the_batch_are_refused(spec):
    wide = dataclasses.replace(spec, train=dataclasses.replace(spec.train, batch_size=32))
    with pytest.raises(DataError, match="needs 16 classes"):
        build_data(wide, "cpu")


def test_a_seed_below_zero_differs_each_time(spec):
    free = dataclasses.replace(spec, train=dataclasses.replace(spec.train, seed=-1))
    firsts = [drawn(build_data(free, "cpu"), 0)[0][0] for _ in range(2)]
    assert not torch.equal(*firsts)


@pytest.mark.gpu
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_gpu_batches_equal_those_of_the_cpu(spec, monkeypatch, share):
    monkeypatch.setattr("trainer.data.image_bank._RESIDENT_SHARE", share)
    pairs = zip(drawn(build_data(spec, "cuda"), 0), drawn(build_data(spec, "cpu"), 0), strict=True)
    for (images, labels), (expected, expected_labels) in pairs:
        torch.testing.assert_close(images.cpu(), expected, atol=1e-3, rtol=0)
        assert torch.equal(labels.cpu(), expected_labels)


def test_what_a_split_passes_over_is_told_once(make_folder, make_spec, caplog):
    root = make_folder("train", {"a": 4, "b": 4})
    (root / "empty").mkdir()
    for _ in range(2):
        build_data(make_spec(root), "cpu")
    told = [r.getMessage() for r in caplog.records if r.name == "trainer.data.batches"]
    assert told == [f"dataset.train_dataset: {root}: 1 class folder holds no picture: empty"]


def test_pictures_grow_over_the_epochs_and_are_whole_for_evaluation(make_folder, make_spec):
    """By hand: 64 x 128 from half of it in three epochs, in steps of 16 px, none below 32."""
    folders = [make_folder(name, {"a": 4, "b": 4}) for name in ("train", "reference", "query")]
    spec = make_spec(*folders, first_size=0.5)
    spec = dataclasses.replace(
        spec,
        model=dataclasses.replace(spec.model, input_height=64, input_width=128),
        train=dataclasses.replace(spec.train, num_epochs=3),
    )
    data = build_data(spec, "cpu")
    shapes = [{images.shape[2:] for images, _ in drawn(data, epoch)} for epoch in range(4)]
    assert shapes == [{(32, 64)}, {(48, 96)}, {(64, 128)}, {(64, 128)}]
    assert next(data.eval_batches("query", 3)).shape == (3, 3, 64, 128)


def test_growth_leaves_what_is_drawn_for_the_last_epoch_alone(make_folder, make_spec):
    folders = [make_folder(name, {"a": 4, "b": 4}) for name in ("train", "reference", "query")]
    grown, plain = (make_spec(*folders, first_size=share) for share in (0.5, 1.0))
    last = grown.train.num_epochs - 1
    for (images, labels), (same, own) in zip(
        drawn(build_data(grown, "cpu"), last), drawn(build_data(plain, "cpu"), last), strict=True
    ):
        assert torch.equal(images, same)
        assert torch.equal(labels, own)
