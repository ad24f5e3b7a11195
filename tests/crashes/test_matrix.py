"""A sample of the crash matrix, and all of it; in a process of its own, which forks its drivers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crashes.cells import (
    IN_PROCESS,
    MOMENTS,
    REAL,
    SHORT,
    SHORT_STAGED,
    STAGED,
    STAGED_MOMENTS,
    WITH_MLFLOW,
    WITH_RAY,
    no_sense,
)

ROOT = Path(__file__).parents[2]


def cells_of(folder, *argv, timeout):
    path = folder / "cells.json"
    result = subprocess.run(
        [sys.executable, "-m", "tests.crashes.matrix", *argv, "--json", str(path)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert path.exists(), result.stderr[-3000:]
    return json.loads(path.read_text()), result


def red(cells):
    return {(c["moment"], c["fault"]): c["words"] for c in cells if c["state"] == "failed"}


def test_a_sample_of_crashes_loses_nothing(tmp_path):
    cells, result = cells_of(tmp_path, timeout=600)
    assert red(cells) == {}
    assert result.returncode == 0, result.stderr[-3000:]
    assert [(c["moment"], c["fault"]) for c in cells] == [*SHORT, *SHORT_STAGED]
    assert max(c["repeated"] for c in cells[: len(SHORT)]) == 1


@pytest.mark.slow
@pytest.mark.ray
def test_no_crash_at_any_moment_loses_anything(tmp_path):
    cells, result = cells_of(tmp_path, "--long", timeout=7200)
    assert red(cells) == {}
    assert result.returncode == 0, result.stderr[-3000:]
    faults = IN_PROCESS + WITH_MLFLOW + WITH_RAY
    assert len(cells) == len(MOMENTS) * len(faults) + len(STAGED)


@pytest.mark.slow
def test_crashes_of_the_real_trainer_lose_nothing(tmp_path):
    cells, result = cells_of(tmp_path, "--real", timeout=1800)
    assert red(cells) == {}
    assert result.returncode == 0, result.stderr[-3000:]
    assert [(c["moment"], c["fault"]) for c in cells] == list(REAL)


@pytest.mark.slow
@pytest.mark.ray
def test_random_kills_change_nothing():
    result = subprocess.run(
        [sys.executable, "-m", "tests.crashes.random_kills", "--kills", "30"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=3600, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]


def test_the_samples_name_cells_that_exist():
    names = {m.name for m in (*MOMENTS, *STAGED_MOMENTS)}
    sample = (*SHORT, *SHORT_STAGED, *STAGED, *REAL)
    assert {name for name, _ in sample} <= names
    assert {fault for _, fault in sample} <= set(IN_PROCESS)
    assert not any(no_sense(m, f) for m in MOMENTS for name, f in sample if m.name == name)
