"""Reads what the fields of a dataclass mean from the texts below them in its source."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap


def field_texts(kind: type) -> dict[str, str]:
    """Return the text below each field of a dataclass, on one line; "" where there is none."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101 - the source of a class is one
    texts = {}
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = re.sub(r"\s+", " ", str(after.value.value)).strip()
        texts[node.target.id] = text
    return texts
