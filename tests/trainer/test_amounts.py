import pytest

from hpo.core.bytes import render_bytes
from trainer.amounts import size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (640_400, "640 kB"), (36e6, "36.0 MB"),
        (999_949_999, "999.9 MB"), (1e9, "1.0 GB"), (1.25e12, "1.2 TB"),
    ],
)  # fmt: skip
def test_sizes_have_a_unit_in_which_they_are_not_zero(count, text):
    assert size_text(count) == text
    assert render_bytes(count) == text  # harness and trainer say the same
