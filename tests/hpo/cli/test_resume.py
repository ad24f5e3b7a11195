import json
import shutil

import pytest

from hpo.cli.resume import read_moved, read_moved_places
from hpo.core.errors import SpecError
from hpo.core.yaml_io import parse_yaml
from tests.quick_cli import events_of


def finished_of(out):
    last = events_of(out)[-1]
    assert last.pop("event") == "finished"
    last.pop("time")
    return last


def test_a_finished_run_repeats_its_last_line(hpo, first):
    said = []
    for _ in range(2):
        code, out, err = hpo("resume", "first", "--json")
        assert code == 0, err
        assert [e["event"] for e in events_of(out)] == ["finished"]
        assert "best      trial" in err
        said.append(finished_of(out))
    kept = json.loads((first / "state.json").read_text())["finished"]
    assert said[0] == said[1]
    assert {k: v for k, v in said[0].items() if k not in ("run_dir", "best")} == {
        k: v for k, v in kept.items() if k not in ("run_dir", "best")
    }
    assert said[0]["run_dir"] == str(first)  # it is a copy in another place


def test_a_paused_run_goes_on_to_its_end(hpo, second):
    code, out, err = hpo("resume", "--in-process", "--json")
    assert code == 0, err
    events = events_of(out)
    assert events[0]["event"] == "started"
    assert sum(finished_of(out)["trials"].values()) == 4
    assert finished_of(out)["run_dir"] == str(second)


def test_more_trials(hpo, first):
    code, out, err = hpo("resume", "first", "--budget", "+2", "--in-process", "--json")
    assert code == 0, err
    assert sum(finished_of(out)["trials"].values()) == 6
    assert [e["trial"] for e in events_of(out) if e["event"] == "trial_started"] == [4, 5]
    assert "budget: 6trials" in (first / "study.yaml").read_text()


@pytest.mark.parametrize("gone", ["model.onnx", "model.ckpt", "spec.yaml", ""])
def test_a_finished_run_whose_winner_was_removed_hands_it_on_again(hpo, first, gone):
    said = (first / "best/model.onnx").read_text()
    place = first / "best" / gone
    shutil.rmtree(place) if not gone else place.unlink()
    code, out, err = hpo("resume", "first", "--in-process", "--json")
    assert code == 0, err
    assert "trial_started" not in [e["event"] for e in events_of(out)]
    assert json.loads((first / "best/model.onnx").read_text()) == json.loads(said)
    assert (first / "best/spec.yaml").is_file()


def test_a_winner_is_exported_from_its_copy_where_its_own_checkpoint_is_gone(hpo, first):
    number = json.loads((first / "best/report.json").read_text())["trial"]
    shutil.rmtree(first / f"trials/{number:04d}/ckpt")
    (first / "best/model.onnx").unlink()
    code, _, err = hpo("resume", "first", "--in-process", "--json")
    assert code == 0, err
    assert (first / "best/model.onnx").is_file()
    shutil.rmtree(first / "best")
    shutil.rmtree(first / f"trials/{number:04d}/ckpt", ignore_errors=True)
    nothing_handed_on, wrong_input = 1, 2
    for words, name, wanted in (
        (["resume", "first", "--in-process"], "hpo", nothing_handed_on),
        (["export", "first"], "hpo export", wrong_input),
    ):
        code, _, err = hpo(*words)
        assert (code, err.splitlines()[-1]) == (
            wanted,
            f"{name}: trial {number}: the checkpoint of its best epoch is missing below "
            f"{first}/trials/{number:04d}; bring it back, or export another trial: "
            f"`hpo export {first} --trial N`",
        )


@pytest.mark.parametrize(
    ("asked", "advice"), [("2", "6trials"), ("3trials,9h", "6trials,32400s"), ("1epochs", "")]
)
def test_a_budget_that_is_used_up_says_what_to_write(hpo, first, caplog, asked, advice):
    code, _, err = hpo("resume", "first", "--budget", asked, "--in-process")
    assert code == 0, err
    (line,) = [line for line in caplog.messages if "used up already (4 trials" in line]
    *_, written = line.split()
    caplog.clear()
    assert line.endswith(f"write more than that, such as {advice or written}")
    code, _, err = hpo("resume", "first", "--budget", written, "--in-process")
    assert code == 0, err
    assert "used up already" not in caplog.text


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("third",), "no run 'third' below runs/"),
        (("first", "--budget", "5x"), "budget: '5x' is not understood"),
        (("first", "--budget", "+0"), "a positive whole number"),
        (("first", "--budget", "+2h"), "has no limit on seconds to add to"),
    ],
)
def test_what_cannot_be_resumed(hpo, runs, argv, said):
    code, out, err = hpo("resume", *argv, "--json")
    assert code == 2
    (line,) = err.splitlines()
    assert said in line
    assert [e["event"] for e in events_of(out)] == ["error"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("study.yaml", "schema_version: 7\n"),
        ("study.yaml", "- a\n"),
        ("plan.json", "{"),
        ("ledger.db", "noise"),
        ("study.yaml", None),
        ("plan.json", None),
        ("ledger.db", None),
    ],
)
def test_a_damaged_run_is_one_line(hpo, first, file, text):
    (first / file).unlink()
    if text is not None:
        (first / file).write_text(text)
    code, _, err = hpo("resume", first)
    assert code == 2
    (line,) = err.splitlines()
    assert file in line or "no run" in line


def test_a_moved_run_goes_on_where_it_is(hpo, second, tmp_path):
    there = tmp_path / "other" / "second" / second.name
    there.parent.mkdir(parents=True)
    shutil.move(second, there)
    code, out, err = hpo("resume", there, "--in-process", "--json")
    assert code == 0, err
    finished = finished_of(out)
    assert finished["best"]["onnx"] == str(there / "best" / "model.onnx")
    assert sum(finished["trials"].values()) == 4


def test_a_finished_run_that_was_moved_is_extended_there(hpo, first, tmp_path):
    there = tmp_path / "backup" / "old" / "first" / first.name
    there.parent.mkdir(parents=True)
    shutil.move(first, there)
    code, out, err = hpo("resume", there, "--budget", "+2", "--in-process", "--json")
    assert code == 0, err
    finished = finished_of(out)
    assert sum(finished["trials"].values()) == 6
    assert finished["best"]["onnx"] == str(there / "best" / "model.onnx")
    assert not first.exists()


def test_what_has_changed_is_one_line_and_can_be_forced(hpo, second):
    text = (second / "study.yaml").read_text()
    study = parse_yaml(text, "x")
    study["search"]["ranges"] = {"train.lr": [1e-4, 1e-3]}
    (second / "study.yaml").write_text(json.dumps(study))
    code, out, err = hpo("resume", second, "--in-process")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "train.lr: was 1e-05..0.1 log, is 0.0001..0.001 linear" in line
    code, out, err = hpo("resume", second, "--in-process", "--json", "--force")
    assert code == 0, err
    assert sum(finished_of(out)["trials"].values()) == 4


@pytest.mark.parametrize(
    ("pair", "old", "new"),
    [
        ("/data/w.ckpt={at}/w.ckpt", "/data/w.ckpt", "w.ckpt"),
        ("/data/lr=0.1/w.ckpt={at}/w.ckpt", "/data/lr=0.1/w.ckpt", "w.ckpt"),
        ("/data/w.ckpt={at}/lr=0.1/w.ckpt", "/data/w.ckpt", "lr=0.1/w.ckpt"),
        ("/data/a=b={at}/lr=0.1/w.ckpt", "/data/a=b", "lr=0.1/w.ckpt"),
        ("/data/lr=0.1/w.ckpt={at}/none", "/data/lr=0.1/w.ckpt", "none"),
    ],
)
def test_places_that_have_moved_may_hold_the_sign_between_them(tmp_path, pair, old, new):
    (tmp_path / "lr=0.1").mkdir()
    for name in ("w.ckpt", "lr=0.1/w.ckpt"):
        (tmp_path / name).touch()
    assert read_moved(pair.format(at=tmp_path)) == (old, str(tmp_path / new))


@pytest.mark.parametrize("pair", ["/data", "=/data", "/data=", "="])
def test_a_moved_place_needs_both_ends(pair):
    with pytest.raises(SpecError, match=f"--moved {pair}: must be OLD=NEW"):
        read_moved(pair)


def test_a_moved_place_has_one_new_one():
    assert read_moved_places(["a=/b", "c=/d", "a=/b"]) == {"a": "/b", "c": "/d"}
    with pytest.raises(SpecError, match="--moved a: is given twice, as '/b' and '/d'; leave one"):
        read_moved_places(["a=/b", "a=/d"])
