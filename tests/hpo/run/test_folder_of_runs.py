from pathlib import Path

import pytest

from hpo.run.folder_of_runs import command_below


@pytest.mark.parametrize(
    ("out", "command"),
    [
        ("runs", "hpo use --none"),
        ("runs/", "hpo use --none"),
        ("elsewhere", "hpo use --none --out elsewhere"),
        ("/data/my runs", "hpo use --none --out '/data/my runs'"),
    ],
)
def test_a_folder_that_is_not_the_usual_one_is_named(out, command):
    assert command_below(Path(out), "use", "--none") == command
