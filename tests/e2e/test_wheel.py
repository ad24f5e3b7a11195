"""The wheel, built from this tree and run where there is none, with its packaged study and skill folder.

A whole search from it is `test_real_search.py`'s.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

CODE = """import sys, hpo_recognition
code = hpo_recognition.hpo()
print(sys.modules["hpo"].__file__, file=sys.stderr)
sys.exit(code)"""


def test_it_holds_what_is_read_and_no_recordings(installed):
    """Recorded curves and their pictures are for those who have the sources."""
    root = Path(__file__).parents[2]
    listed = subprocess.run(
        ["git", "ls-files"], cwd=root, check=True, capture_output=True, text=True
    )
    tracked = [Path(line) for line in listed.stdout.splitlines()]
    expected = {
        str(path) for path in tracked if path.parts[0] in ("hpo", "trainer", "search_spaces")
    }
    studies = [path for path in tracked if path.parts[0] == "studies"]
    expected |= {f"hpo/{path}" for path in studies if path.parts[1] != "recorded"}
    found = {
        str(path.relative_to(installed))
        for path in installed.rglob("*")
        if path.is_file() and not {"__pycache__"} & set(path.parts)
    }
    # The module that starts the commands lies beside the packages, not in them.
    expected = expected - {"hpo/core/process/entry.py"} | {"hpo_recognition.py"}
    assert {name for name in found if ".dist-info/" not in name} == expected


def test_a_packaged_study_is_read_outside_the_checkout(installed, tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "HPO_TRAINER_MODULES"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, "space", "quickstart", "--json"],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=env | {"PYTHONPATH": str(installed)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == str(installed / "hpo" / "__init__.py")
    shown = [parameter["name"] for parameter in json.loads(done.stdout)["parameters"]]
    assert "train.optim.embedder.base_lr" in shown
    assert "train.optim.trunk.base_lr" not in shown  # the study keeps the trunk as it is
