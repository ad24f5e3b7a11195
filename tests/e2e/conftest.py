"""What several end-to-end tests start from: the wheel of this tree, unpacked."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(made_once):
    """A folder that the wheel is unpacked into, as an installer does it."""
    pytest.importorskip("hatchling", reason="the extra `dev` builds the wheel")

    def build(folder):
        words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=120)
        (wheel,) = folder.glob("*.whl")
        unpack = [sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder / "site")]
        subprocess.run(unpack, check=True)

    return made_once("wheel", build) / "site"
