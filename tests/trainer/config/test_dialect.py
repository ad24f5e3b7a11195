import json
import random

import pytest

from search_spaces import Overlay, RangeError, compile_space, load_schema
from search_spaces.lint import lint_schema
from trainer.config.deviations import DEVIATIONS, extensions
from trainer.config.dialect import schema, template
from trainer.config.root import ACTIONS
from trainer.errors import SpecError
from trainer.session import TRAINER
from trainer.spec import parse_spec

SEARCHED = {
    f"train.optim.{part}.{name}"
    for part in ("embedder", "trunk")
    for name in ("base_lr", "bias_lr_factor", "momentum", "weight_decay", "weight_decay_bias")
} | {
    f"train.optim.{name}"
    for name in (
        "gamma",
        "miner_function_margin",
        "triplet_loss_margin",
        "warmup_factor",
        "warmup_iters",
    )
}
TEXT = {"title", "description"}


def nodes_of(tree, prefix=""):
    """Every node by path; texts and the default trees of sections left out, name lists sorted."""
    found = {}
    for name, node in tree.items():
        if not isinstance(node, dict):
            continue
        path = f"{prefix}{name}"
        kept = {k: v for k, v in node.items() if k not in TEXT | {"properties"}}
        if "properties" in node:
            kept.pop("default", None)
        found[path] = {
            k: sorted(v) if isinstance(v, list) and k.startswith(("automl_", "popular")) else v
            for k, v in kept.items()
        }
        found |= nodes_of(node.get("properties", {}), f"{path}.")
    return found


def leaf_values(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaf_values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_the_fifteen_published_parameters_are_searched_by_default():
    assert len(SEARCHED) == 15
    assert set(schema("train")["automl_default_parameters"]) == SEARCHED


def test_endless_maximum_is_written_as_infinity():
    node = schema("train")["properties"]["train"]["properties"]["num_epochs"]
    assert '"maximum": Infinity' in json.dumps(node)


@pytest.mark.parametrize("action", ACTIONS)
def test_template_is_the_default_tree_and_holds_no_absent_key(action):
    tree = template(action)
    assert schema(action)["default"] == tree
    values = dict(leaf_values(tree))
    assert None not in values.values()
    assert "model.pretrained_model_path" not in values
    assert action == "train" or action in tree


def test_every_node_has_words_of_its_own():
    for path, node in all_nodes(schema("gen_trt_engine")["properties"]):
        assert len(node["description"]) > 5, path
        assert node["title"], path


def all_nodes(tree, prefix=""):
    for name, node in tree.items():
        if isinstance(node, dict):
            yield f"{prefix}{name}", node
            yield from all_nodes(node.get("properties", {}), f"{prefix}{name}.")


def differences(published, ours):
    """(path, fact, published, ours) wherever the two schemas state something else."""
    theirs, mine = nodes_of(published["properties"]), nodes_of(ours["properties"])
    beyond = set(extensions())
    found = [(path, "key", "absent", "present") for path in set(mine) - set(theirs) - beyond]
    for path, node in theirs.items():
        own = dict(mine.get(path, {"key": "absent"}))
        if isinstance(own.get("automl_disabled_parameters"), list):
            kept = [p for p in own["automl_disabled_parameters"] if p not in beyond]
            own["automl_disabled_parameters"] = kept
            if not kept and "automl_disabled_parameters" not in node:
                del own["automl_disabled_parameters"]  # all that it lists are our own sections
        for fact in {*node, *own}:
            if node.get(fact) != own.get(fact):
                found.append((path, fact, node.get(fact), own.get(fact)))
    return found


@pytest.mark.parametrize("action", ACTIONS)
def test_schema_differs_from_the_published_one_only_as_listed(published_skill, action):
    published = json.loads((published_skill / "schemas" / f"{action}.schema.json").read_text())
    ours = schema(action)
    present = nodes_of(ours["properties"])
    listed = [(d.path, d.fact, d.published, d.ours) for d in DEVIATIONS if d.path in present]
    found = differences(published, ours)
    assert sorted(map(str, found)) == sorted(map(str, listed))


@pytest.mark.parametrize("action", ACTIONS)
def test_root_lists_and_default_tree_equal_the_published_ones_but_as_listed(
    published_skill, action
):
    published = json.loads((published_skill / "schemas" / f"{action}.schema.json").read_text())
    ours = schema(action)
    beyond = set(extensions())
    assert set(ours) == set(published)
    assert ours["popular"] == published["popular"]
    for name in ("automl_default_parameters", "automl_disabled_parameters"):
        assert set(ours[name]) - beyond == set(published[name])
    mine = {p: v for p, v in leaf_values(ours["default"]) if p not in beyond}
    theirs = dict(leaf_values(published["default"]))
    changed = {p: v for p, v in mine.items() if theirs.get(p, "absent") != v}
    listed = {d.path: d.ours for d in DEVIATIONS if d.fact == "default" and d.path in mine}
    assert changed == listed
    assert set(mine) == set(theirs)


def test_no_description_is_the_published_one(published_skill):
    for action in ACTIONS:
        published = json.loads((published_skill / "schemas" / f"{action}.schema.json").read_text())
        theirs = {
            " ".join(node["description"].lower().split()).rstrip(".")
            for _, node in all_nodes(published["properties"])
            if "description" in node
        }
        for path, node in all_nodes(schema(action)["properties"]):
            assert node["description"].lower().rstrip(".") not in theirs, path


@pytest.mark.parametrize("action", ACTIONS)
def test_every_default_lies_where_a_search_looks(action):
    found = lint_schema(load_schema(schema(action)))
    assert [finding for finding in found if finding.kind in ("default", "relation")] == []


DATA = {
    "dataset.train_dataset": "t",
    "dataset.val_dataset": {"reference": "r", "query": "q"},
}
TOGETHER = {
    "dataset.num_instance": "train.batch_size: must be a multiple of dataset.num_instance",
    "dataset.sampling": "must be classes for the triplet loss",
    "train.loss.memory_size": "must be 0 or hold a whole step",
}
"""What is refused beside the value of another key, and drawn again by a search."""
PUBLISHED = {
    "model.input_channels": "model.input_channels: must be",
    "wandb.sync_tensorboard": "must be false",
}
"""Published as searchable without a range, which nobody searches; a draw that is refused is repeated."""


def test_a_search_proposes_of_each_parameter_what_the_trainer_takes():
    published, searchable = load_schema(schema("train")), []
    for name in published.leaves:
        try:
            space = compile_space(
                published, overlay=Overlay(hyperparameters=(name,)), multiple_of=TRAINER.multiple_of
            )
        except RangeError as error:
            assert "not searchable" in str(error) or "is disabled for search" in str(error)
            continue
        searchable.append(name)
        rng = random.Random(name)
        for _ in range(60):
            drawn = space.sample(rng)
            try:
                parse_spec(DATA | drawn, "train")
            except SpecError as error:
                reason = (TOGETHER | PUBLISHED).get(name)
                assert reason is not None, (drawn, error)
                assert reason in str(error)
    assert {"dataset.crop_share", "train.batch_size", *TOGETHER} <= set(searchable)
    assert len(searchable) > 80
