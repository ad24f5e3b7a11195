"""Lists every text of the code that a person may see: a program, not a test.

    .venv/bin/python tests/list_messages.py [hpo/console trainer ...]

A line each: file, line number, and the text, with {name} where a value stands. Left out are docstrings,
comments, and what holds fewer than two words. Read it once before a release: whole sentences where a
sentence is needed, nouns that agree with their numbers, one word for one thing (docs/glossary.md).
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hpo", "trainer", "search_spaces")
WORDS = re.compile(r"[A-Za-z]{2,}[^A-Za-z\n]* [A-Za-z{]+")


def texts_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line number and text of every string that is no docstring and stands in no other string."""
    hidden = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            hidden.add(node.value)
        if isinstance(node, ast.JoinedStr):
            hidden.update(node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(_part(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in hidden:
            yield node.lineno, node.value


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    return "{" + ast.unparse(part).removeprefix("f'{").removesuffix("}'") + "}"


def main(places: list[str]) -> None:
    """Print the texts of the given files and folders, or of all packages."""
    for place in places or PACKAGES:
        given = ROOT / place
        for file in [given] if given.is_file() else sorted(given.rglob("*.py")):
            found = texts_of(ast.parse(file.read_text(encoding="utf-8")))
            for number, text in sorted(found):
                if WORDS.search(text):
                    print(f"{file.relative_to(ROOT)}:{number}: {text!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
