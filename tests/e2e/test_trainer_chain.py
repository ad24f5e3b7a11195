"""The page docs/trainer.md: its chain runs as printed, and its lists are complete."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.trainer.tiny import make_folders
from trainer import cli
from trainer.config.loss import LOSSES
from trainer.config.relations import REFUSED
from trainer.config.tree import leaves

PAGE = (Path(__file__).parents[2] / "docs" / "trainer.md").read_text(encoding="utf-8")


def block(mark):
    """The fenced block behind a mark."""
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.+?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def commands():
    """Every command of the chain, as its words."""
    return [shlex.split(line) for line in block("chain").replace("\\\n", "").splitlines()]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Generated pictures where the page has photographs."""
    counts = {"train": 14, "reference": 2, "val": 3, "test": 4}
    for seed, (name, images) in enumerate(counts.items()):
        # Calibration takes 320 pictures.
        make_folders(tmp_path / "photos" / name, classes=24, images=images, seed=seed)
    (tmp_path / "retail.yaml").write_text(block("spec"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def test_the_chain_runs_as_printed(photos, capsys):
    for program, *words in commands():
        assert program == "ml_recog"
        # Nothing is added but a shorter training.
        shorter = ["train.num_epochs=1"] if words[0] == "train" else []
        assert cli.main([*words, *shorter]) == 0, capsys.readouterr().err
    out = photos / "out"
    scores = {}
    for name in ("evaluate", "evaluate_onnx", "evaluate_int8"):
        result = json.loads((out / name / "evaluation.json").read_text())
        assert result["num_queries"] == 24 * 4
        scores[name] = result["metrics"]
    assert scores["evaluate_onnx"] == pytest.approx(scores["evaluate"], abs=1e-6)
    engine = json.loads((out / "gen_trt_engine" / "engine.json").read_text())
    assert engine["num_calibration_images"] == 320
    assert engine["precision_at_1"]["num_queries"] == 24 * 3
    for path in re.findall(r"`((?:train|evaluate|inference)/[\w./]+)`", PAGE):
        assert (out / path).is_file(), path


def test_every_loss_and_its_keys_are_on_the_page():
    for loss in LOSSES:
        assert f"| `{loss}`" in PAGE
    for path, key in leaves().items():
        if path.startswith("train.loss.") and path.count(".") == 3:
            assert f"`{path}` ({json.dumps(key.default)})" in PAGE


@pytest.mark.parametrize("refusal", REFUSED, ids=lambda refusal: refusal.path)
def test_every_refused_key_is_on_the_page(refusal):
    action = refusal.action or "every one"
    line = f"| `{refusal.path}` | {action} | `{refusal.shown}` | {refusal.reason} |"
    assert line in PAGE
