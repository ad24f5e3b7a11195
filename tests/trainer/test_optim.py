import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from trainer.errors import SpecError
from trainer.models.heads import ResidualHead
from trainer.models.trunk import create_trunk
from trainer.optim import Schedule, build_optimizer, build_schedule, schedule_optimizer
from trainer.spec import parse_spec

SCHEDULE = {
    "train.optim.warmup_iters": 10,
    "train.optim.warmup_factor": 0.01,
    "train.optim.gamma": 0.1,
    "train.optim.steps": [2, 3],
}


def spec_of(**changes):
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return parse_spec(SCHEDULE | dotted, "train", is_complete=False)


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)


@pytest.mark.parametrize(
    ("step", "factor"),
    [  # 100 steps an epoch: 0.01 -> 1 over 10 steps, then a tenth after epochs 2 and 3
        (0, 0.01),
        (5, 0.505),
        (9, 0.901),
        (10, 1.0),
        (199, 1.0),
        (200, 0.1),
        (299, 0.1),
        (300, 0.01),
        (9999, 0.01),
    ],
)
def test_the_rate_at_hand_computed_points(step, factor):
    schedule = build_schedule(spec_of().train, steps_per_epoch=100)
    assert schedule.factor(step) == pytest.approx(factor)


def test_constant_warm_up_holds_one_level():
    schedule = build_schedule(spec_of(train__optim__warmup_method="constant").train, 100)
    assert [schedule.factor(s) for s in (0, 9, 10)] == [0.01, 0.01, 1.0]


def test_a_milestone_within_the_warm_up_counts_too():
    schedule = Schedule(
        warmup_iters=4, warmup_factor=0.5, warmup_method="linear", gamma=0.1, milestones=(1,),
        steps_per_epoch=2, total_steps=8,
    )  # fmt: skip
    assert schedule.factor(2) == pytest.approx(0.75 * 0.1)


@pytest.mark.parametrize(
    ("step", "factor"),
    [  # 4 epochs of 10 steps: (1 + cos(180 degrees * step / 40)) / 2, rising to it over 4 steps
        (0, 0.1),
        (2, 0.55 * 0.993844),
        (10, 0.853553),
        (20, 0.5),
        (30, 0.146447),
        (39, 0.001541),
        (40, 0.0),
    ],
)
def test_cosine_falls_from_full_to_nothing_over_the_run(step, factor):
    spec = spec_of(
        train__optim__schedule="cosine", train__num_epochs=4, train__optim__warmup_iters=4,
        train__optim__warmup_factor=0.1,
    )  # fmt: skip
    assert build_schedule(spec.train, 10).factor(step) == pytest.approx(factor, abs=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_one_cycle_is_torchs(share):
    spec = spec_of(
        train__optim__schedule="one_cycle", train__num_epochs=4, train__optim__warmup_share=share
    )
    schedule = build_schedule(spec.train, 10)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=40, pct_start=share, cycle_momentum=False
    )
    for step in range(40):
        assert schedule.factor(step) == pytest.approx(torchs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step < 39:
            torchs.step()
    # By hand: from 1/25 of the rates to all of them after the warm-up, and to 1/250000 at the end.
    assert schedule.factor(0) == pytest.approx(0.04)
    assert schedule.factor(round(40 * share) - 1) == pytest.approx(1.0)
    assert schedule.factor(39) == pytest.approx(4e-6)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_one_cycle_of_very_few_steps_stays_within_its_ends(steps, share):
    spec = spec_of(
        train__optim__schedule="one_cycle", train__num_epochs=1, train__optim__warmup_share=share
    )
    schedule = build_schedule(spec.train, steps)
    assert all(4e-6 <= schedule.factor(step) <= 1.0 for step in range(steps + 1))


def test_the_optimizer_follows_the_schedule_step_by_step():
    spec = spec_of(train__optim__trunk__base_lr=0.2, train__optim__embedder__base_lr=0.4)
    optimizer = build_optimizer(spec, Part(), nn.Linear(4, 2), nn.Identity())
    scheduler = schedule_optimizer(optimizer, build_schedule(spec.train, 100))
    rates = []
    for _ in range(12):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx([0.002, 0.002, 0.004, 0.004])
    assert rates[5] == pytest.approx([0.101, 0.101, 0.202, 0.202])
    assert rates[11] == pytest.approx([0.2, 0.2, 0.4, 0.4])


def test_groups_hold_their_own_settings():
    spec = spec_of(
        train__optim__name="SGD",
        train__optim__trunk__base_lr=0.1,
        train__optim__trunk__bias_lr_factor=2.0,
        train__optim__trunk__weight_decay=0.01,
        train__optim__trunk__weight_decay_bias=0.02,
        train__optim__trunk__momentum=0.5,
        train__optim__embedder__momentum=0.7,
        train__loss__name="arcface",
        train__loss__base_lr=0.3,
    )
    loss = nn.Linear(2, 2, bias=False)
    optimizer = build_optimizer(spec, Part(), nn.Linear(4, 2), loss)
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert list(groups) == ["trunk", "trunk_bias", "embedder", "embedder_bias", "loss"]
    trunk, bias = groups["trunk"], groups["trunk_bias"]
    assert (trunk["lr"], trunk["weight_decay"], trunk["momentum"]) == (0.1, 0.01, 0.5)
    assert (bias["lr"], bias["weight_decay"], bias["momentum"]) == (0.2, 0.02, 0.5)
    assert groups["embedder"]["momentum"] == 0.7
    assert (groups["loss"]["lr"], groups["loss"]["weight_decay"]) == (0.3, 0.0)
    assert len(trunk["params"]) == 2  # weights of convolution and norm
    assert len(bias["params"]) == 2


@pytest.mark.parametrize("name", ["Adam", "SGD", "Adamax", "AdamW"])
def test_each_optimizer_takes_a_step_downhill(name):
    torch.manual_seed(0)
    part, head = nn.Linear(3, 3), nn.Linear(3, 1)
    spec = spec_of(train__optim__name=name, train__optim__trunk__base_lr=1e-3)
    optimizer = build_optimizer(spec, part, head, nn.Identity())
    assert type(optimizer).__name__ == name
    x = torch.ones(8, 3)
    before = head(part(x)).square().mean()
    before.backward()
    optimizer.step()
    assert head(part(x)).square().mean() < before


def test_frozen_parameters_are_left_out():
    part = Part().requires_grad_(requires_grad=False)
    optimizer = build_optimizer(spec_of(), part, nn.Linear(4, 2), nn.Identity())
    assert [group["name"] for group in optimizer.param_groups] == ["embedder", "embedder_bias"]


def resnet():
    return create_trunk("timm/test_resnet", image_size=(32, 32))


def rate_and_decay_of_each(optimizer, *parts):
    names = {id(p): name for part in parts for name, p in part.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
        if id(p) in names
    }


@pytest.mark.parametrize(
    ("name", "layer"),
    [  # stem, then a stage a layer; counted from the top
        ("conv1.0.weight", 4),
        ("layer1.0.conv2.weight", 3),
        ("layer2.0.bn1.weight", 2),
        ("layer4.0.bn1.bias", 0),
        ("layer4.0.conv1.weight", 0),
    ],
)
def test_layers_learn_slower_the_nearer_they_are_to_the_picture(name, layer):
    trunk, head = resnet(), nn.Linear(4, 2)
    spec = spec_of(
        train__optim__layer_decay=0.5, train__optim__trunk__base_lr=0.8,
        train__optim__trunk__bias_lr_factor=3.0, train__optim__trunk__weight_decay=0.01,
        train__optim__trunk__weight_decay_bias=0.02, train__optim__embedder__base_lr=0.3,
        model__backbone="timm/test_resnet",
    )  # fmt: skip
    optimizer = build_optimizer(spec, trunk, head, nn.Identity())
    found = rate_and_decay_of_each(optimizer, trunk, head)
    full, decay = (2.4, 0.02) if name.endswith("bias") else (0.8, 0.01)
    assert found[name] == (pytest.approx(full * 0.5**layer), decay)
    assert found["weight"][0] == 0.3
    assert len(found) == len(list(trunk.parameters())) + 2


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "test_vit"])
def test_layers_are_those_of_timms_own_grouping(name):
    trunk = create_trunk(f"timm/{name}", image_size=(160, 160))
    spec = spec_of(train__optim__layer_decay=0.7, train__optim__trunk__base_lr=1.0)
    optimizer = build_optimizer(spec, trunk, nn.Linear(2, 2), nn.Identity())
    names = {id(p): n for n, p in trunk.named_parameters()}
    expected = {
        names[id(p)]: group["lr_scale"]
        for group in param_groups_layer_decay(trunk, layer_decay=0.7)
        for p in group["params"]
    }
    found = {
        names[id(p)]: group["lr"]
        for group in optimizer.param_groups
        if group["name"].startswith("trunk")
        for p in group["params"]
    }
    assert found == pytest.approx(expected)


def test_fans_layers_are_blocks_between_stem_and_norm():
    trunk = create_trunk("fan_tiny", image_size=(32, 32))
    spec = spec_of(train__optim__layer_decay=0.5, train__optim__trunk__base_lr=1.0)
    optimizer = build_optimizer(spec, trunk, nn.Linear(2, 2), nn.Identity())
    found = {name: rate for name, (rate, _) in rate_and_decay_of_each(optimizer, trunk).items()}
    layers = 1 + len(trunk.blocks) + len(trunk.cls_attn_blocks)
    assert found["cls_token"] == found["patch_embed.proj.weight"] == 0.5 ** (layers - 1)
    assert found["blocks.0.gamma1"] == 0.5 ** (layers - 2)
    assert found["norm.weight"] == found["cls_attn_blocks.1.gamma1"] == 1.0


def test_a_trunk_without_known_layers_is_refused():
    spec = spec_of(train__optim__layer_decay=0.9, model__backbone="fan_tiny")
    with pytest.raises(SpecError, match=r"layer_decay: must be 1 for fan_tiny"):
        build_optimizer(spec, Part(), nn.Linear(4, 2), nn.Identity())


def test_norms_do_not_decay_when_told_so():
    trunk, head = resnet(), ResidualHead(4)
    spec = spec_of(
        train__optim__decay_norms=False, train__optim__trunk__weight_decay=0.01,
        train__optim__embedder__weight_decay=0.03, train__optim__trunk__weight_decay_bias=0.02,
        train__optim__embedder__base_lr=0.3,
    )  # fmt: skip
    optimizer = build_optimizer(spec, trunk, head, nn.Identity())
    names = [group["name"] for group in optimizer.param_groups]
    assert names == [
        "trunk", "trunk_bias", "trunk_norm", "embedder", "embedder_bias", "embedder_norm",
    ]  # fmt: skip
    found = rate_and_decay_of_each(optimizer, trunk, head)
    assert found["layer1.0.bn1.weight"][1] == 0.0
    assert found["layer1.0.bn1.bias"][1] == 0.02
    assert found["layer1.0.conv1.weight"][1] == 0.01
    assert found["embedding_fc.0.weight"] == (0.3, 0.0)
    assert found["embedding_fc.1.weight"] == (0.3, 0.03)
