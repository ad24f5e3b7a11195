"""The example notebook, cell by cell, as a person runs it, on a third of the pictures."""

import ast
import json
from pathlib import Path

from trainer.data import demo

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def run_cell(source, names):
    """Run a cell and return the value of its last line, as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)  # noqa: S102 - our own notebook
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)  # noqa: S307


def test_every_cell_shows_something_real(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "_NUM_KNOWN_BRANDS", 2)
    monkeypatch.setattr(demo, "_NUM_UNKNOWN_BRANDS", 1)
    names = {}
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    shown = [run_cell("".join(c["source"]), names) for c in cells if c["cell_type"] == "code"]
    study, best, trials, curves, parallel, count, report, labels = shown
    assert str(tmp_path) in repr(study)
    assert 0 < best[0] <= 1
    assert "train.optim.trunk.base_lr" in best[1]
    assert list(trials.columns) == ["state", "value", "epochs", "seconds"]
    assert len(trials) == 3
    assert sum(len(trace.y) for trace in curves.data) == trials["epochs"].sum()
    assert parallel.data[0].type == "parcoords"
    assert count == 4
    assert report.read_text().startswith("<!doctype html>")
    assert len(labels) == 3
    assert all(label for _, label in labels)
