"""The published train schema of `ml_recog`: what it holds and what is made of it."""

import json
import random
from collections import Counter
from contextlib import suppress
from hashlib import sha256

import pytest

from search_spaces import Overlay, RangeError, compile_space, load_schema

FIFTEEN = {
    "train.optim.gamma",
    "train.optim.warmup_factor",
    "train.optim.warmup_iters",
    "train.optim.triplet_loss_margin",
    "train.optim.miner_function_margin",
    *(
        f"train.optim.{part}.{name}"
        for part in ("trunk", "embedder")
        for name in (
            "base_lr",
            "bias_lr_factor",
            "momentum",
            "weight_decay",
            "weight_decay_bias",
        )
    ),
}
RATES = ("train.optim.trunk.base_lr", "train.optim.embedder.base_lr")


@pytest.fixture(scope="module")
def space(published):
    return compile_space(published)


@pytest.fixture(scope="module")
def drawn(space):
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(1000)]


def count_nodes(properties: dict) -> int:
    """Count as a reader of the raw file would, list members inside `properties` left out."""
    nodes = [node for node in properties.values() if isinstance(node, dict)]
    return len(nodes) + sum(count_nodes(node.get("properties", {})) for node in nodes)


def test_file_loads_whole(published, published_folder):
    raw = json.loads((published_folder / "train.schema.json").read_text())
    assert published.warnings == ()
    assert len(published.leaves) + len(published.containers) == count_nodes(raw["properties"])
    kinds = Counter(leaf.type_name for leaf in published.leaves.values())
    assert kinds["list_3"] == 1
    assert sum(leaf.enabled is True for leaf in published.leaves.values()) == 15
    assert published.network_arch == "ml_recog"


def test_all_six_published_schemas_load(published_folder):
    for path in sorted(published_folder.glob("*.schema.json")):
        schema = load_schema(path)
        assert schema.warnings == (), path
        compile_space(schema)


def test_default_space_is_exactly_the_fifteen(space, published):
    assert {parameter.name for parameter in space.parameters} == FIFTEEN
    assert set(published.default_parameters) == FIFTEEN
    assert space.pinned == ()
    assert space.warnings == ()


def test_every_parameter_compiles_to_the_space_it_had(space, published):
    """Spaces of earlier runs are known again by their digest."""
    assert space.digest == "935d7520ef4ee5d2"
    assert compile_space(published, num_trials=4).digest == "fdadaf4344200141"
    alone: list[str] = []
    for name in published.leaves:
        overlay = Overlay(hyperparameters=(name,), override_automl_disabled_params=True)
        with suppress(RangeError):
            alone.append(compile_space(published, overlay=overlay).digest)
    assert len(alone) == 54
    assert sha256("".join(alone).encode()).hexdigest()[:16] == "194acd44d5c3f6bd"


def test_default_configuration_is_proposed_exactly(space, published):
    first = space.default()
    assert first == {name: published.value(name) for name in FIFTEEN}
    assert space.decode(space.encode(first)) == first
    assert first["train.optim.trunk.bias_lr_factor"] == 1.0
    assert first["train.optim.trunk.momentum"] == 0.9
    space.validate(first)


def test_thousand_draws_hold_bounds_conditions_and_types(drawn, published):
    for values in drawn:
        assert json.loads(json.dumps(values)) == values
        for name, value in values.items():
            leaf = published.leaves[name]
            assert leaf.minimum <= value <= leaf.maximum
            assert type(value) is (int if leaf.type_name == "int" else float)
            lowest = 1 if name.endswith("bias_lr_factor") else 0
            assert value >= lowest if lowest else value > 0


@pytest.mark.parametrize("name", RATES)
def test_learning_rates_are_drawn_near_the_default(space, drawn, name):
    rates = [values[name] for values in drawn]
    near = sum(3.5e-5 <= rate <= 3.5e-3 for rate in rates) / len(rates)
    assert near >= 0.45
    assert max(rates) <= 3.5e-2
    assert min(rates) >= 3.5e-6
    (shape,) = (d for d in space.dimensions if d.name == name)
    assert shape.log
    assert (shape.low, shape.high) == pytest.approx((3.5e-6, 3.5e-2))


def test_momentum_is_reflected(space, drawn):
    (parameter,) = (p for p in space.parameters if p.name == "train.optim.trunk.momentum")
    assert parameter.distribution["scale"] == "reflected_log"
    values = sorted(values["train.optim.trunk.momentum"] for values in drawn)
    assert 0.95 < values[500] < 0.98
    assert values[0] > 0
    assert values[-1] <= 0.999


def test_kernel_is_a_pair_of_equal_odd_numbers(published):
    overlay = Overlay(
        hyperparameters=("dataset.gaussian_blur.kernel",), override_automl_disabled_params=True
    )
    space = compile_space(published, overlay=overlay, spec={"model": {"input_height": 128}})
    rng = random.Random(0)
    kernels = {tuple(space.sample(rng)["dataset.gaussian_blur.kernel"]) for _ in range(500)}
    assert kernels == {(k, k) for k in range(1, 13, 2)}
    assert space.default() == {"dataset.gaussian_blur.kernel": [11, 11]}


def test_disabled_lists_are_refused_and_then_not_searchable(published):
    with pytest.raises(RangeError, match=r"train\.gpu_ids: is disabled"):
        compile_space(published, overlay=Overlay(hyperparameters=("train.gpu_ids",)))
    overlay = Overlay(hyperparameters=("train.gpu_ids",), override_automl_disabled_params=True)
    with pytest.raises(RangeError, match=r"train\.gpu_ids: type 'list' is not searchable"):
        compile_space(published, overlay=overlay)


def test_batch_sizes_must_be_multiples_of_the_images_per_class(published):
    def compiled(*sizes):
        return compile_space(
            published,
            overlay=Overlay(
                hyperparameters=("train.batch_size",),
                custom_param_ranges={"train.batch_size": {"valid_options": list(sizes)}},
            ),
            multiple_of={"train.batch_size": ("dataset.num_instance", 2)},
        )

    rng = random.Random(0)
    space = compiled(4, 8, 12)
    assert {space.sample(rng)["train.batch_size"] for _ in range(50)} == {8, 12}
    with pytest.raises(RangeError, match=r"6 must be a multiple of dataset\.num_instance = 4"):
        compiled(4, 6)


def test_conditional_space_when_the_optimizer_is_searched(published):
    def inactive(spec):
        name = spec["train"]["optim"]["name"]
        if name == "SGD":
            return {}
        momenta = [f"train.optim.{part}.momentum" for part in ("trunk", "embedder")]
        return dict.fromkeys(momenta, f"{name} has none")

    alone = compile_space(published, inactive=inactive)
    assert {pin.name: pin.reason for pin in alone.pinned} == {
        "train.optim.trunk.momentum": "inactive: Adam has none",
        "train.optim.embedder.momentum": "inactive: Adam has none",
    }
    assert len(alone.parameters) == 13
    both = compile_space(published, inactive=inactive, overlay=Overlay(extra=("train.optim.name",)))
    assert both.pinned == ()
    rng = random.Random(0)
    for _ in range(300):
        values = both.sample(rng)
        has = "train.optim.trunk.momentum" in values
        assert has == (values["train.optim.name"] == "SGD")
        both.validate(values)
    assert "train.optim.trunk.momentum" not in both.default()
    assert both.default()["train.optim.name"] == "Adam"
