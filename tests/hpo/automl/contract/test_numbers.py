"""Every acceptance check of the published contract that can be automated has a test with its number."""

import ast
import re
from pathlib import Path

FIRST, LAST = 1, 77
"""What lies above is done by hand."""


def numbered():
    """Number of a check -> the tests of this folder that have it in their name."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            name = getattr(node, "name", "")
            if numbers := re.match(r"test_((?:\d+_)+)", name):
                for number in numbers[1].strip("_").split("_"):
                    found.setdefault(int(number), []).append(f"{file.name}::{name}")
    return found


def test_every_check_has_a_test_of_its_number():
    missing = sorted({*range(FIRST, LAST + 1)} - set(numbered()))
    assert missing == []


def test_a_check_without_a_test_would_be_seen():
    found = numbered()
    assert found[62] == found[63]
    assert 0 not in found
    assert max(found) <= LAST
