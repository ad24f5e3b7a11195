"""The wheel, built from this tree and run where there is none, with its packaged study and skill folder.

A whole search from it is `test_real_search.py`'s.
"""

import json
import os
import subprocess
import sys

CODE = """import sys, hpo_recognition
code = hpo_recognition.hpo()
print(sys.modules["hpo"].__file__, file=sys.stderr)
sys.exit(code)"""


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
