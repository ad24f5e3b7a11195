from search_spaces import load_schema
from search_spaces.lint import lint_schema
from tests.search_spaces.building import number, schema_of

NODES = {
    "a.good": number(0.0, 1.0, 0.5),
    "a.outside": number(0.2, 1.0, -0.2),
    "a.hue": number(0.0, 0.5, 0.0, "> 0.0"),
    "a.open": number(1, float("inf"), 10, kind="int"),
    "a.free": {"type": "int", "default": 4},
    "a.crowded": number(0.0, 1.0, 3.5e-4),
    "a.constant": number(3, 3, 3, kind="int"),
    "a.only": {"type": "categorical", "enum": ["x"], "default": "x"},
    "a.option": {"type": "categorical", "enum": ["x", "y"], "default": "z"},
    "a.none": {"type": "categorical", "enum": ["None", "y"], "default": ""},
    "a.list": {"type": "list", "default": [1]},
    "a.off": number(0.0, 1.0, 0.5, automl_enabled=False),
    "b.margin": number(0.0, 2.0, 0.3, title="margin"),
    "b.other": number(0.0, 2.0, 0.3, title="Margin"),
    "c.child": number(1, 900, 200, "> depends_on", kind="int", depends_on="c.parent"),
    "c.parent": number(1, 900, 300, kind="int"),
    "c.lost": number(1, 900, 200, "> depends_on", kind="int", depends_on="c.gone"),
}


def findings(nodes=NODES, searched=None, inactive=None):
    schema = load_schema(schema_of(nodes, searched))
    return {(finding.name, finding.kind): finding for finding in lint_schema(schema, inactive)}


def test_each_fault_is_found_once_and_nothing_else():
    found = findings(searched=[*NODES, "a.gone"], inactive={"a.good": "no reason"})
    assert set(found) == {
        ("a.good", "dead"),
        ("a.outside", "default"),
        ("a.hue", "default"),
        ("a.open", "unbounded"),
        ("a.free", "unbounded"),
        ("a.crowded", "scale"),
        ("a.constant", "dead"),
        ("a.only", "dead"),
        ("a.option", "default"),
        ("a.list", "dead"),
        ("a.off", "dead"),
        ("b.other", "duplicate"),
        ("c.child", "relation"),
        ("c.lost", "relation"),
        ("a.gone", "dead"),
    }
    assert "0.035% of [0, 1]" in found["a.crowded", "scale"].message
    assert "b.margin" in found["b.other", "duplicate"].message


def test_sound_schema_is_silent():
    assert findings({"a.good": NODES["a.good"], "b.margin": NODES["b.margin"]}) == {}


def test_cycle_and_unknown_keys_are_reported():
    nodes = {
        "a.a": number(1, 9, 3, "> depends_on", kind="int", depends_on="a.b", colour="red"),
        "a.b": number(1, 9, 5, "> depends_on", kind="int", depends_on="a.a"),
    }
    found = findings(nodes)
    messages = " ".join(finding.message for finding in found.values())
    assert "a.a -> a.b -> a.a" in messages
    assert "unknown key colour" in messages


def test_published_schema_holds_the_faults_it_is_known_for(published):
    found = {(finding.name, finding.kind) for finding in lint_schema(published)}
    assert ("train.optim.trunk.base_lr", "scale") in found
    assert ("train.batch_size", "unbounded") in found
    assert ("dataset.prob", "unbounded") in found
    assert ("train.optim.triplet_loss_margin", "duplicate") in found
