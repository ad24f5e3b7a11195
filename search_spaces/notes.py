"""Collects problems and warnings during compilation."""

from __future__ import annotations

from dataclasses import dataclass, field

from search_spaces.errors import RangeError


@dataclass(frozen=True, slots=True)
class Notes:
    """Lines collected on the way, so that a user hears of every problem at once."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def problem(self, name: str, text: str) -> None:
        """Note what makes a parameter impossible to search as asked."""
        self.problems.append(f"{name}: {text}")

    def warn(self, name: str, text: str) -> None:
        """Note an adjustment that still gives right results."""
        self.warnings.append(f"{name}: {text}")

    def raise_problems(self) -> None:
        """End the compilation when there is a problem.

        Raises:
            RangeError: with every problem noted so far, each once.
        """
        if self.problems:
            raise RangeError(list(dict.fromkeys(self.problems)))
