"""The wheel, built from this tree and run where there is none: the demo search, with its packaged study and skill folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="the extra `dev` builds the wheel")
ROOT = Path(__file__).parents[2]
SMALL = {
    "model.backbone": "timm/test_resnet", "model.input_width": 32, "model.input_height": 32,
    "train.num_epochs": 1, "dataset.workers": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that the wheel is unpacked into, as an installer does it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder / "site")], check=True
    )
    return folder / "site"


def test_the_demo_runs_outside_the_checkout(installed, tmp_path, drawn):
    code = """import sys, hpo_recognition
code = hpo_recognition.hpo()
print(sys.modules["hpo"].__file__, file=sys.stderr)
sys.exit(code)"""
    flags = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    env = {k: v for k, v in os.environ.items() if k != "HPO_TRAINER_MODULES"}
    done = subprocess.run(
        [sys.executable, "-c", code, "search", "--budget", "1", "--in-process", "--no-report", "--json", *flags],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=env | {"PYTHONPATH": str(installed), "HPO_CACHE_DIR": str(drawn)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == str(installed / "hpo" / "__init__.py")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["trials"]["complete"]) == ("finished", 1)
    assert Path(last["best"]["onnx"]).is_relative_to(tmp_path)
