"""File names that speak of another class, against a loop over all classes."""

from pathlib import Path

import numpy as np
import pytest

from trainer.data.names import plain_name
from trainer.doctor.findings import Item
from trainer.doctor.fingerprint import Fingerprint
from trainer.doctor.pictures import picture_findings

LOOK = Fingerprint(digest=b"")


@pytest.mark.parametrize("letters", ["ab", "abcdef"])
def test_names_of_other_classes_are_those_of_a_loop_over_all_classes(letters):
    rng = np.random.default_rng(len(letters))

    def word(low, high):
        return "".join(rng.choice([*letters], rng.integers(low, high)))

    labels = sorted({word(3, 7) for _ in range(60)})
    items = [
        Item("train", str(rng.choice(labels)), Path(f"/p/{word(1, 12)}_{i}.jpg"), LOOK)
        for i in range(400)
    ]
    present = {item.label for item in items}
    told = []
    for item in items:
        stem = plain_name(item.path.stem)
        others = [p for p in present if len(p) >= 4 and p in stem and p not in item.label]
        if item.label not in stem and others:
            told.append(str(item.path))
    (found,) = [f for f in picture_findings(items) if f["kind"] == "label_in_name"]
    assert found["count"] == len(told) > 5
    assert found["paths"] == told[:50]
