import subprocess
import sys

import pytest
import torch
from torch import nn

from tests.trainer.tiny import make_splits, train_spec
from trainer.config.train import TrainConfig
from trainer.devices import image_layout, pick_device, training_devices
from trainer.errors import DeviceMemoryError, SpecError
from trainer.session import TRAINER

CPU = torch.device("cpu")

STEPS = """
import sys
import torch
from trainer.devices import image_layout, pick_device
from trainer.errors import SpecError
from trainer.models.trunk import create_trunk

torch.set_num_threads(1)
for name in sys.argv[1:]:
    trunk = create_trunk(name, image_size=(32, 32)).train()
    layout = image_layout(trunk, torch.device("cpu"))
    trunk = trunk.to(memory_format=layout)
    for batch in (8, 3):
        images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=layout)
        trunk(images).square().mean().backward()
    print(name)
"""


@pytest.mark.parametrize(
    ("conv", "layout"),
    [
        (nn.Conv2d(3, 48, 1, stride=2), torch.contiguous_format),
        (nn.Conv2d(15, 8, 1, stride=(1, 2)), torch.contiguous_format),
        (nn.Conv2d(64, 64, 1, stride=2, groups=8), torch.contiguous_format),
        (nn.Conv2d(16, 48, 1, stride=2), torch.channels_last),
        (nn.Conv2d(3, 48, 1), torch.channels_last),
        (nn.Conv2d(3, 48, 3, stride=2), torch.channels_last),
    ],
)
def test_strided_pointwise_convolutions_of_few_channels_keep_the_plain_layout(conv, layout):
    model = nn.Sequential(nn.Conv2d(3, conv.in_channels, 3), conv)
    assert image_layout(model, CPU) == layout
    assert image_layout(model, torch.device("cuda", 0)) == torch.channels_last


def test_trunks_with_and_without_such_convolutions_train_without_breaking_memory():
    # In channels last, the first of them ends its process in its first backward passes.
    trunks = ["timm/mobileone_s0", "timm/test_resnet"]
    done = subprocess.run(
        [sys.executable, "-c", STEPS, *trunks],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-400:]
    assert done.stdout.split() == trunks


@pytest.fixture
def cards(monkeypatch):
    """A machine with so many cards, as torch tells of it; `cards.used` are those set as its own."""
    used = []

    def show(count, given=None):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", used.append)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if given is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)

    show.used = used
    return show


@pytest.mark.parametrize(
    ("count", "index", "cards_are"), [(1, 3, "the one card is 0"), (4, 4, "0 to 3")]
)
def test_a_card_that_is_not_there_is_one_line(cards, count, index, cards_are):
    cards(count)
    with pytest.raises(
        SpecError, match=f"^gpu_ids: must name cards of this machine, got {index}; .*{cards_are}$"
    ):
        pick_device(index)


def test_cards_that_are_there(cards):
    cards(4)
    assert pick_device(3) == torch.device("cuda", 3)
    assert cards.used == [torch.device("cuda", 3)]
    cards(1, given="6")  # as a worker is given one of eight
    assert pick_device(6) == torch.device("cuda", 0)


def test_a_card_that_is_full_is_no_bug(cards, monkeypatch):
    def full(_device):
        raise torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be ...")

    cards(4)
    monkeypatch.setattr(torch.cuda, "set_device", full)
    with pytest.raises(DeviceMemoryError, match=r"^GPU 3: not enough memory: CUDA error: out of"):
        pick_device(3)


@pytest.mark.parametrize(
    ("count", "given", "gpu_ids", "used"),
    [
        (4, None, [2, 3], [2, 3]),
        (2, "2,3", [2, 3], [0, 1]),  # as a worker is given two of eight
        (2, "5,7", [0, 6], [0, 1]),
        (2, "5,7", [1, 0], [1, 0]),
        (1, "5", [3], [0]),
    ],
)
def test_cards_of_a_run_on_several(cards, count, given, gpu_ids, used):
    cards(count, given)
    train = TrainConfig(num_gpus=len(gpu_ids), gpu_ids=gpu_ids)
    assert training_devices(train) == ("gpu", used)
    for rank, index in enumerate(used):
        assert pick_device(*gpu_ids, rank=rank) == torch.device("cuda", index)


def test_cards_that_a_worker_lacks_are_refused(cards):
    cards(3, "1,5,7")
    with pytest.raises(SpecError, match="^gpu_ids: must name cards of this machine, got 3; .* 2$"):
        training_devices(TrainConfig(num_gpus=2, gpu_ids=[2, 3]))


def test_a_run_on_several_cards_is_measured_on_those_that_its_worker_has(
    cards, monkeypatch, tmp_path
):
    def full(device):
        raise torch.AcceleratorError(f"CUDA error: out of memory on {device}")

    cards(2, "2,3")
    monkeypatch.setattr(torch.cuda, "set_device", full)
    spec = train_spec(make_splits(tmp_path), tmp_path / "run", train__num_gpus=2,
                      train__gpu_ids=[2, 3])  # fmt: skip
    with pytest.raises(DeviceMemoryError, match=r"^GPU 0: .* on cuda:0$"):
        TRAINER.probe(spec)
