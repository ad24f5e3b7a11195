"""Wrong input at the command line: one clear line, exit code 2, no traceback, no run directory left behind.

One case is asked of a process of its own, the others of `main` here, which is a second faster.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bad_input.judging import ask

ROOT = Path(__file__).resolve().parents[2]


def run_process(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "hpo.cli.main", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "HPO_CACHE_DIR": str(cwd.parent / "cache"),
        },
        timeout=60,
        check=False,
    )


@pytest.fixture
def run_hpo(tmp_path, monkeypatch, capfd):
    """Call the command line in `tmp_path`; the answer is that of a process."""
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path.parent / "cache"))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        answer = ask(["hpo", *words], capfd)
        return subprocess.CompletedProcess(words, answer.code, answer.out, answer.err)

    return run


def write_images(folder, classes, per_class, seed=0):
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


@pytest.fixture
def photos(tmp_path):
    """Three sound splits of two classes."""
    for index, (split, count) in enumerate((("train", 8), ("gallery", 2), ("val", 2))):
        write_images(tmp_path / split, ("cola", "tea"), count, seed=index)
    return tmp_path


def data_flags(folder, **changes):
    paths = {"train": folder / "train", "reference": folder / "gallery", "query": folder / "val"}
    paths |= changes
    return [word for name, path in paths.items() for word in (f"--{name}", str(path))]


def assert_one_line(result, *needles):
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert len(lines) == 1, result.stderr
    for needle in needles:
        assert needle in lines[0], lines[0]


def test_missing_folder_is_named(photos):
    """Without weights, whose network a process would import timm for."""
    flags = data_flags(photos, train=photos / "nowhere")
    result = run_process("search", *flags, "--weights", "none", cwd=photos)
    assert_one_line(result, "nowhere")
    assert not list((photos / "runs").glob("*/*"))


def test_class_with_one_image_is_named(photos, run_hpo):
    write_images(photos / "train", ("lonely",), 1)
    result = run_hpo("search", *data_flags(photos))
    assert_one_line(result, "lonely")


def test_corrupt_image_is_named(photos, run_hpo):
    broken = photos / "train" / "tea" / "3.png"
    broken.write_bytes(broken.read_bytes()[:40])
    result = run_hpo("search", *data_flags(photos))
    assert_one_line(result, "3.png")


def test_gallery_without_the_queries_classes_is_refused(photos, run_hpo):
    write_images(photos / "other", ("milk", "juice"), 2)
    result = run_hpo("search", *data_flags(photos, reference=photos / "other"))
    assert_one_line(result, "cola")


def test_unknown_spec_key_names_the_nearest(photos, run_hpo):
    words = ["search", *data_flags(photos), "--set", "train.num_epoch=3"]
    assert_one_line(run_hpo(*words), "train.num_epoch", "train.num_epochs")


@pytest.mark.parametrize("budget", ["5x", "0", "-3", "2h,3h", "1.5trials", ""])
def test_wrong_budget_is_refused(run_hpo, budget):
    assert_one_line(run_hpo("search", f"--budget={budget}"), "budget:")


def test_gpu_hours_without_a_gpu_are_refused(photos, run_hpo):
    result = run_hpo("search", "--budget", "1gpuh", *data_flags(photos))
    assert_one_line(result, "GPU")


def test_schema_that_is_not_json_is_named(tmp_path, run_hpo):
    (tmp_path / "train.schema.json").write_text("{ not json")
    result = run_hpo("space", "--schema", "train.schema.json")
    assert_one_line(result, "train.schema.json")


def test_half_given_data_say_what_is_missing(run_hpo):
    assert_one_line(run_hpo("search", "--train", "t"), "reference", "query")


@pytest.mark.parametrize(
    ("words", "needle"),
    [
        (["search", "--algorithm", "tpee"], "tpe"),
        (["search", "--pruner", "medan"], "median"),
        (["search", "--concurrent", "0"], "--concurrent"),
        (["search", "--weights", "nowhere.pth"], "nowhere.pth"),
        (["search", "nowhere.yaml"], "nowhere.yaml"),
        (["search", "--range", "train.optim.trunk.base_lr=1..2"], "train.optim.trunk.base_lr"),
        (["search", "--search-over", "train.optim.trunk.bas_lr"], "train.optim.trunk.base_lr"),
        (["status", "nowhere"], "nowhere"),
        (["resume"], "hpo search"),
        (["predict", "nowhere.jpg"], "nowhere.jpg"),
    ],
)
def test_wrong_words_name_what_was_meant(run_hpo, words, needle):
    assert_one_line(run_hpo(*words), needle)
