"""Settings that are worth trying first: learned on other data, by start and stage of a search.

`portfolio.json` holds them and what they were learned on; it is written by
`tests/benchmarks/learn_portfolio.py` (docs/adr/0017-learned-portfolio.md).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("portfolio.json")


def first_trials(kind: str) -> dict[str, dict[str, Any]]:
    """Return configurations to try after the default, the one that adds most first.

    Args:
        kind: as `tests/benchmarks/record_portfolio.py` names starts and stages, such as `heads`.

    Returns:
        name -> {parameter: value}; empty where no portfolio was found to help.
    """
    found = _portfolios().get(kind, {}).get("configurations", [])
    return {f"{kind}-{place}": dict(values) for place, values in enumerate(found, start=1)}


@cache
def _portfolios() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))["portfolios"]
    return read
