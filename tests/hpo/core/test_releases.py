import pytest

import hpo
from hpo.core.releases import newer_writer


@pytest.mark.parametrize(
    ("own", "written", "told"),
    [
        ("0.9.0", "0.10.0", "0.10.0"),
        ("0.10.0", "0.9.9", ""),
        ("1.2", "1.2.1", "1.2.1"),
        ("0.6.0", "0.6.0", ""),
        ("0.6.0", "not a release", ""),
        ("0.6.0", 7, ""),
    ],
)
def test_releases_are_compared_by_their_numbers(monkeypatch, own, written, told):
    monkeypatch.setattr(hpo, "__version__", own)
    assert newer_writer({"hpo": written}) == told
    assert newer_writer({}) == newer_writer(None) == newer_writer([written]) == ""
