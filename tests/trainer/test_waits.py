import torch

from tests.trainer.waits import count_waits


def test_what_needs_values_is_counted_and_the_rest_is_not():
    values = torch.tensor([3.0, -1.0, 2.0])
    with count_waits() as waits:
        mask = values > 0
        torch.where(mask, values, 0.0).sum().clamp(min=1)
        values.masked_fill(mask, 0.0)
    assert not waits
    with count_waits() as waits:
        values[mask]
        mask.nonzero()
        float(values[0])
        torch.unique(values)
        values.masked_select(mask)
    assert waits == {
        "nonzero": 2, "item": 1, "_unique2": 1, "masked_select": 1,
    }  # fmt: skip
