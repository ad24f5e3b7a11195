"""Parses `math_cond` and `depends_on` into clauses.

Grammar: one or more `OP operand`, blanks optional, joined by blanks, commas or `and`. Operators
are `> >= < <= !=` (comparison), `^ k` (powers of k), `/ k` (multiples of k; with a parent: the
parent divided by k). An operand is a number, the word `depends_on`, or the dotted name of another
parameter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from search_spaces.errors import SchemaError

COMPARISONS = (">=", "<=", ">", "<")

_OPERAND = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[A-Za-z_][\w.]*"
_CLAUSE = re.compile(rf"\s*(?:and\b|,|&+)?\s*(>=|<=|!=|>|<|\^|/)\s*({_OPERAND})\s*")
_OLD_DEPENDS = re.compile(r"\s*(>=|<=|!=|>|<)\s*([A-Za-z_][\w.]*)\s*")


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on a value: against a number, or against the values of other parameters."""

    op: str
    """A comparison, `^` (powers), `/` (multiples), `//` (the parent over `number`)."""
    number: float | None = None
    parents: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Write the clause the way a schema spells it."""
        if self.op == "//":
            return f"= {' , '.join(self.parents)} // {self.number:g}"
        operand = " and ".join(self.parents) if self.number is None else f"{self.number:g}"
        return f"{self.op} {operand}"


def parse_dependency(text: object, where: str) -> tuple[tuple[str, ...], str]:
    """Split `depends_on` into the parents' names and, in the older form `OP name`, the operator.

    Raises:
        SchemaError: when the text is neither a name, a comma list of names nor `OP name`.
    """
    if text is None or text == "":
        return (), ""
    if not isinstance(text, str):
        raise SchemaError(f"{where}: depends_on must be a parameter name, got {text!r}")
    older = _OLD_DEPENDS.fullmatch(text)
    if older:
        return (older.group(2),), older.group(1)
    names = tuple(part.strip() for part in text.split(","))
    if not all(re.fullmatch(r"[A-Za-z_][\w.]*", name) for name in names):
        raise SchemaError(
            f"{where}: depends_on must be NAME, NAME,NAME or OP NAME, got {text!r}; "
            "correct the schema"
        )
    return names, ""


def parse_condition(text: object, parents: tuple[str, ...], where: str) -> tuple[Clause, ...]:
    """Parse a `math_cond`.

    Args:
        text: the condition; None and blank mean no condition.
        parents: what the word `depends_on` stands for.
        where: the parameter's dotted name, for messages.

    Raises:
        SchemaError: when the text is not of the grammar above.
    """
    if text is None or text == "":
        return ()
    found: list[Clause] = []
    position, stop = 0, len(text) if isinstance(text, str) else 0
    while isinstance(text, str) and position < stop:
        match = _CLAUSE.match(text, position)
        if match is None:
            break
        found.append(_clause(match.group(1), match.group(2), parents, where))
        position = match.end()
    if not found or position < stop:
        raise SchemaError(
            f"{where}: math_cond must be conditions like '> 0.0', '>= 1 <= 8', '^ 2', '/ 8' or "
            f"'> depends_on', got {text!r}; correct the schema"
        )
    return tuple(found)


def _clause(op: str, operand: str, parents: tuple[str, ...], where: str) -> Clause:
    if operand[0].isalpha() or operand[0] == "_":
        names = parents if operand == "depends_on" else (operand,)
        if not names or op not in (*COMPARISONS, "!="):
            raise SchemaError(
                f"{where}: math_cond '{op} {operand}' needs a parameter in depends_on to compare "
                "with; correct the schema"
            )
        return Clause(op, None, names)
    number = float(operand)
    if op in "^/" and (number <= 0 or (op == "^" and (number < 2 or number % 1))):
        raise SchemaError(
            f"{where}: math_cond '{op} {operand}' needs "
            + ("a whole number of at least 2" if op == "^" else "a number above 0")
            + "; correct the schema"
        )
    if op == "/" and parents:
        return Clause("//", number, parents)
    return Clause(op, number)
