"""Every value of a run's own JSON in turn is another one, or gone: no verb that reads it ends in a traceback."""

import contextlib
import copy
import io
import itertools
import json

import pytest

from hpo.cli.main import main
from tests.bad_input.shelf import take_run

OTHERS = (None, "x", -7, ["x"], {"x": 3}, float("nan"))
"""What a value is damaged into."""
FIGURE = {"value": 0.75, "interval": [0.7, 0.8], "default": 0.7, "default_interval": [0.6, 0.8],
          "gain": 0.05, "gain_interval": [-0.1, 0.2]}  # fmt: skip
REPORT = {
    "metric": "val_precision_at_1",
    "confirmation": {
        "words": ["trial 1: 0.8 over 2 new seeds"], "standings": [{"number": 1, "value": 0.8, "values": [0.8]}],
    },
    "expected": {
        **{"value": 0.8, "trials": 7, "drop": 0.03, "drop_error": 0.01, "noise": 0.02},
        **{"expected": 0.77, "interval": [0.755, 0.785], "repeats": 0, "tied": ["trial 2"]},
    },
    "average": {"words": "average of trials 1 and 2", "trials": [1, 2], "value": 0.8, "is_used": True},
    "pareto": [
        {"name": n, "trial": 1, "value": 0.8, "latency_ms": 2.5, "params": 9, "on_front": True} for n in "ab"
    ],
    "test": {"trial": 1, "val_precision_at_1": 0.75, "held_out": FIGURE, "alone": FIGURE},
    "next": ["hpo predict"],
}  # fmt: skip
STATE = {
    "rungs": [{"text": "epoch 3 stopped 1 trial"}],
    "stages": [{"text": "heads: 5 trials"}],
    "forecasts": [{"expected_s": 90.0, "took_s": 100.0}],
}


def paths_of(node, depth):
    """Where the values of plain data are, those of the first two items of a list."""
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node[:2])
        if isinstance(node, list)
        else ()
    )
    for key, value in items:
        yield (key,)
        if depth > 1:
            yield from ((key, *path) for path in paths_of(value, depth - 1))


def damages(data, depth=3):
    """Yield (what was done, copy of the data) for every value and damage."""
    for path in paths_of(data, depth):
        for other in (*OTHERS, ...):
            damaged = copy.deepcopy(data)
            *above, last = path
            node = damaged
            for key in above:
                node = node[key]
            if other is ...:
                del node[last]
            else:
                node[last] = other
            yield (path, other), damaged


def answer(words):
    """Exit code and lines of stderr, without the one that says which run is used."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words.split())
    return code, [line for line in err.getvalue().splitlines() if not line.startswith("run ")]


def check(verbs, data, write, depth=3):
    """Every damage is passed over, or is one line; return how many are. Verbs take turns."""
    refused = 0
    for (what, damaged), verb in zip(damages(data, depth), itertools.cycle(verbs), strict=False):
        write(damaged)
        try:
            code, lines = answer(verb)
        except Exception as error:  # noqa: BLE001 - told with the damage
            pytest.fail(f"{verb}: {what}: {type(error).__name__}: {error}")
        assert (code, len(lines)) in ((0, 0), (2, 1)), (verb, what, lines)
        refused += code == 2
    return refused


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return take_run(tmp_path)


def extended(file, more):
    data = json.loads(file.read_text()) | more
    file.write_text(json.dumps(data))
    return data


def test_what_was_handed_on(run):
    report = run / "best" / "report.json"
    data = extended(report, REPORT)
    kept = {name: data[name] for name in (*REPORT, "trial", "value", "spec", "params", "onnx")}
    assert answer("best") == (0, [])
    assert check(["best", "status"], kept, lambda d: report.write_text(json.dumps(d)), 4) > 100


def test_the_state(run):
    file = run / "state.json"
    data = extended(file, STATE)
    del data["finished"]
    (run / "best" / "report.json").unlink()
    check(["status", "ls", "best"], data, lambda d: file.write_text(json.dumps(d)))


def test_the_events(run):
    file = run / "events.ndjson"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    by_name = {line["event"]: line for line in lines}
    epochs = sum(line["event"] == "epoch" and line["trial"] == 1 for line in lines)

    def write(events):
        rest = [line for line in lines if line is not by_name[line["event"]]]
        file.write_text("".join(json.dumps(line) + "\n" for line in [*rest, *events.values()]))

    assert check(["logs 1"], by_name, write, 2) == 0
    file.write_text(
        '3\n[]\nnull\n{"event": []}\n\xff\n' + "".join(json.dumps(x) + "\n" for x in lines)
    )
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["logs", "1", "--json"]) == 0
    assert len(json.loads(out.getvalue())["epochs"]) == epochs


def test_the_plan(run):
    file = run / "plan.json"
    data = extended(file, {"first": [{"latents": {}, "source": "trial 3 of a run"}]})
    assert check(["why 1"], data, lambda d: file.write_text(json.dumps(d)), 1) > 50


def test_the_origin(run):
    file = run / "origin.json"
    data = json.loads(file.read_text())
    check(["status"], data, lambda d: file.write_text(json.dumps(d)), 2)
    for text in (b"", b"\xff", b"3", b"[]"):
        file.write_bytes(text)
        assert answer("status") == (0, [])
