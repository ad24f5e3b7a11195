"""A program, not a test: lists which names of TensorRT's API our code uses, and which a binding has.

python -m tests.trainer.actions.tensorrt_names WHEEL...

The wheels are `tensorrt-cu12-bindings` of both majors (pip download --no-deps; 1 MB each). They hold no stub files, and
cannot be imported without the library; but every name that Python sees stands in their binary as a whole string, or as
the end of a longer one.
"""

import ast
import json
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CODE = ROOT / "trainer/actions/tensorrt_engine.py"
FOUND = Path(__file__).with_suffix(".json")
ONLY_10 = "_set_flags_of_10"
"""The function that TensorRT 11 never reaches."""

_OURS = {"append", "read_bytes", "write_bytes", "is_file", "tensorrt"}


def used_names(code: str) -> tuple[set[str], set[str]]:
    """Return the attributes that code reads of TensorRT's objects: for both majors, for 10 alone."""
    tree = ast.parse(code)
    loose = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == ONLY_10)
    inside = {id(node) for node in ast.walk(loose)}
    both, ten = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _root(node) in ROOTS:
            (ten if id(node) in inside else both).add(node.attr)
    return both, ten - both


ROOTS = {
    "tensorrt", "builder", "network", "parser", "config", "optimization", "runtime", "cache",
    "self._engine", "self._context", "timing",
}  # fmt: skip
"""What TensorRT's objects are called in that file."""


def _root(node: ast.Attribute) -> str:
    inner: ast.expr = node.value
    while isinstance(inner, ast.Attribute | ast.Call | ast.Subscript):
        if isinstance(inner, ast.Attribute) and ast.unparse(inner) in ROOTS:
            return ast.unparse(inner)
        inner = inner.func if isinstance(inner, ast.Call) else inner.value
    return ast.unparse(inner)


def strings_of(binary: bytes, names: set[str]) -> dict[str, str]:
    """Return how each name stands in a binary: `whole`, `end` (of a longer string) or `absent`."""
    found = {}
    for name in sorted(names):
        text = name.encode() + b"\0"
        found[name] = "whole" if b"\0" + text in binary else "end" if text in binary else "absent"
    return found


def main(wheels: list[str]) -> None:
    """Write the table that the test reads."""
    both, ten = used_names(CODE.read_text())
    table = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            binary = archive.read("tensorrt_bindings/tensorrt.so")
        table[Path(wheel).name.split("-")[1]] = strings_of(binary, both | ten)
    FOUND.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
