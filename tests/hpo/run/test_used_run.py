import pytest

from hpo.core.errors import RunError
from hpo.run.run_dir import RunDir
from hpo.run.used_run import find_model_run, pin_run, pinned_run, unpin_run


@pytest.fixture
def out(tmp_path):
    for name in ("shop/20260101-000000", "shop/20260102-000000", "parts/20260103-000000"):
        (tmp_path / "runs" / name / "best").mkdir(parents=True)
        (tmp_path / "runs" / name / "study.yaml").write_text("name: x\n")
        (tmp_path / "runs" / name / "ledger.db").touch()
    (tmp_path / "runs" / "shop" / "20260101-000000" / "best" / "model.onnx").touch()
    return tmp_path / "runs"


def test_finished_runs_come_first_and_one_that_was_named_is_taken(out):
    first, second = out / "shop" / "20260101-000000", out / "shop" / "20260102-000000"
    assert find_model_run(None, out).path == first
    assert find_model_run("shop", out).path == first
    assert find_model_run(str(out / "shop"), out).path == first
    assert find_model_run("20260102-000000", out).path == second
    assert find_model_run(str(second), out).path == second
    assert find_model_run("parts", out).path.name == "20260103-000000"
    (first / "best" / "model.onnx").unlink()
    assert find_model_run(None, out).path.name == "20260103-000000"


def test_a_pinned_run_is_taken_where_none_is_named(out, tmp_path):
    second = RunDir(out / "shop" / "20260102-000000")
    pin_run(second, out)
    assert pinned_run(out).path == find_model_run(None, out).path == second.path
    assert find_model_run("parts", out).path.name == "20260103-000000"
    second.study_file.unlink()
    with pytest.raises(
        RunError, match=f"`hpo use` pinned, and is gone; .* `hpo use --none --out {out}`"
    ):
        find_model_run(None, out)
    unpin_run(out)
    assert find_model_run(None, out).path.name == "20260101-000000"
    with pytest.raises(RunError, match="must lie below"):
        pin_run(RunDir(tmp_path / "elsewhere"), out)


def test_a_run_behind_a_link_can_be_pinned(out, tmp_path):
    real = tmp_path / "big" / "20260102-000000"
    (tmp_path / "big").mkdir()
    (out / "shop" / "20260102-000000").rename(real)
    (out / "shop" / "20260102-000000").symlink_to(real)
    pin_run(find_model_run("20260102-000000", out), out)
    assert (out / ".used").read_text() == "shop/20260102-000000\n"
    assert pinned_run(out).path == real
