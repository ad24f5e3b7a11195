"""The structure of the packages: no import circles, and every module has its tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hpo", "trainer", "search_spaces")
LAZY_FACES = {"hpo"}
"""Packages whose `__init__` imports its public names on first use, from modules that import it."""


TO_BE_OPENED = {
    "hpo.automl.data_keys": {"hpo.automl.planning"},
    "hpo.automl.finishing": {"hpo.automl.session"},
}
"""Imports for types alone that still close a circle."""


def modules_below(root):
    return {
        ".".join(path.with_suffix("").relative_to(root).parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in (root / package).rglob("*.py")
    }


def imported(module, path, modules):
    """Modules that `path` imports: at its top, inside functions, and for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in modules and name != module}


def find_circle(graph):
    """One circle as a list of names, or an empty list; depth-first with the path in hand."""
    done = set()

    def visit(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if circle := visit(other, [*path, name]):
                return circle
        done.add(name)
        return []

    for name in sorted(graph):
        if circle := visit(name, []):
            return circle
    return []


def graph_below(root):
    modules = modules_below(root)
    return {
        name: imported(name, path, modules) - TO_BE_OPENED.get(name, set())
        if name not in LAZY_FACES
        else set()
        for name, path in modules.items()
    }


def test_no_module_imports_itself_through_others():
    graph = graph_below(ROOT)
    assert len(graph) > 300
    assert find_circle(graph) == []


@pytest.mark.parametrize(
    "text",
    [
        "import hpo.b\n",
        "def f():\n    import hpo.b\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hpo.b import B\n",
    ],
)
def test_a_circle_is_found_at_the_top_inside_functions_and_among_types(tmp_path, text):
    package = tmp_path / "hpo"
    package.mkdir()
    (package / "a.py").write_text(text)
    (package / "b.py").write_text("from hpo import c\n")
    (package / "c.py").write_text("from hpo.a import f\n")
    assert find_circle(graph_below(tmp_path)) == ["hpo.a", "hpo.b", "hpo.c", "hpo.a"]
