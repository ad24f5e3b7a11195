import shutil
from pathlib import Path


def test_the_winner_and_its_files(hpo, json_of, first):
    best = json_of("best", "first")
    code, out, err = hpo("best", "first")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"trial {best['trial']}: P@1 {best['value']:.4f}"
    for name, file in [("spec", "spec.yaml"), ("checkpoint", "model.ckpt"), ("onnx", "model.onnx")]:
        assert best[name] == str(first / "best" / file)
        assert f"{name:<11} {best[name]}" in lines
    assert f"  hpo predict {first} IMAGE..." in lines
    assert set(best["params"]) == {"train.lr", "train.margin", "train.width"}


def test_before_the_end_it_is_the_best_so_far(hpo, json_of, second):
    best = json_of("best")
    assert best["trial"] == 0
    assert "onnx" not in best
    assert hpo("best")[1].startswith("trial 0: P@1 0.")


def test_a_moved_run_names_its_files_where_they_are(json_of, hpo, first, tmp_path):
    there = tmp_path / "archive" / "first" / first.name
    there.parent.mkdir(parents=True)
    shutil.move(first, there)
    best = json_of("best", there)
    for name in ("spec", "checkpoint", "onnx"):
        assert Path(best[name]).is_file()
        assert Path(best[name]).is_relative_to(there)
    assert str(first) not in hpo("best", there)[1]


def test_no_result_yet(fails, second):
    (second / "state.json").unlink()
    assert fails("best") == (
        f"hpo best: {second}: no trial has a result yet; `hpo status {second}` shows them"
    )
