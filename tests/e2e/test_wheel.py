"""The wheel, built from this tree and run where there is none, with its packaged study, skill folder and pictures.

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
SMALL = {
    "model.backbone": "timm/test_resnet", "model.input_width": 32, "model.input_height": 32,
    "train.num_epochs": 1, "dataset.workers": 0,
}  # fmt: skip


def test_the_demo_is_planned_outside_the_checkout(installed, tmp_path, drawn):
    flags = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    env = {k: v for k, v in os.environ.items() if k != "HPO_TRAINER_MODULES"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, "plan", "--budget", "1", "--in-process", "--json", *flags],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=env | {"PYTHONPATH": str(installed), "HPO_CACHE_DIR": str(drawn)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == str(installed / "hpo" / "__init__.py")
    assert json.loads(done.stdout)["study"] == "quickstart"
