import argparse
import json
from pathlib import Path

import pytest

from hpo.cli.run_flags import (
    add_json_argument,
    add_out_argument,
    add_run_argument,
    chosen_run,
    print_json,
    print_table,
)
from hpo.core.errors import RunError
from hpo.run.run_dir import RunDir
from hpo.run.run_index import note_run


def test_the_three_shared_flags():
    parser = argparse.ArgumentParser()
    add_run_argument(parser)
    args = parser.parse_args([])
    assert (args.run_name, args.out, args.json) == (None, "runs", False)
    args = parser.parse_args(["retail", "--out", "o", "--json"])
    assert (args.run_name, args.out, args.json) == ("retail", "o", True)


def test_they_can_be_had_one_by_one():
    parser = argparse.ArgumentParser()
    add_out_argument(parser)
    add_json_argument(parser)
    assert vars(parser.parse_args([])) == {"out": "runs", "json": False}


def test_json_takes_what_has_a_text_form(capsys, tmp_path):
    print_json({"path": tmp_path, "n": [1, 2.5, None]})
    assert json.loads(capsys.readouterr().out) == {"path": str(tmp_path), "n": [1, 2.5, None]}


def test_json_holds_no_number_that_other_readers_refuse(capsys):
    print_json({"loss": float("nan"), "rows": [(float("-inf"), 2.5)]})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "loss": None,
        "rows": [[None, 2.5]],
    }


def test_numbers_stand_right_and_words_left(capsys):
    print_table(["NAME", "N", ""], [["a", "5", "note"], ["longer", "1000", ""]])
    assert capsys.readouterr().out == (
        "NAME       N\n"
        "a          5  note\n"
        "longer  1000\n"
    )  # fmt: skip


def test_names_of_others_move_no_cursor_of_a_terminal(capsys):
    print_table(["CLASS", "N"], [["red\x1b]0;mine\x07", 3], ["lime\n", 4], ["grün", 5]])
    assert capsys.readouterr().out == (
        "CLASS               N\n"
        "red\\x1b]0;mine\\x07  3\n"
        "lime\\x0a            4\n"
        "grün                5\n"
    )


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A finished run that this machine remembers, called from a folder without any."""
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HPO_MEMORY")
    run = RunDir(tmp_path / "elsewhere" / "shelf" / "20260102-000000")
    for name in ("20260101-000000", run.path.name):
        older = RunDir(run.path.with_name(name))
        older.path.mkdir(parents=True)
        older.study_file.touch()
        older.ledger_file.touch()
        note_run(tmp_path / "cache", older)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return run


def chosen(*words, **more):
    parser = argparse.ArgumentParser()
    add_run_argument(parser)
    return chosen_run(parser.parse_args(words), **more).path


@pytest.mark.parametrize("words", [(), (".",), ("shelf",), ("20260102-000000",)])
def test_a_verb_that_looks_finds_the_runs_of_other_folders(shelf, capsys, words):
    assert chosen(*words, looks=True) == shelf.path
    assert capsys.readouterr().err == f"run {shelf}\n"
    with pytest.raises(RunError, match=r"below runs/"):
        chosen(*words)


def test_verbs_that_look_show_the_same_runs(shelf, hpo, monkeypatch):
    monkeypatch.chdir(shelf.path.parents[2] / "here")
    (Path("photo.jpg")).touch()
    code, out, _ = hpo("ls", "--json")
    assert [row["run_dir"] for row in json.loads(out)] == [
        str(shelf.path.with_name("20260101-000000")), str(shelf.path),
    ]  # fmt: skip
    for words in (("status",), ("best",), ("report",), ("predict", "photo.jpg")):
        assert str(shelf.path) in "".join(hpo(*words)[1:])
    assert "no runs below other/" in hpo("ls", "--out", "other")[1]


def test_a_model_of_another_folder_is_a_finished_one_and_is_said_to_programs_too(
    shelf, hpo, monkeypatch
):
    monkeypatch.chdir(shelf.path.parents[2] / "here")
    Path("photo.jpg").touch()
    older = shelf.path.with_name("20260101-000000")
    (older / "best").mkdir()
    (older / "best" / "model.onnx").touch()
    _, _, err = hpo("predict", "photo.jpg", "--json")
    assert err.startswith(f"run {older}\n")
    assert str(shelf) in hpo("predict", shelf, "photo.jpg")[2], "the one that was named"
    code, out, err = hpo("status", "--json")
    assert (code, json.loads(out)["run_dir"], err) == (0, str(shelf), f"run {shelf}\n")


def test_a_run_of_another_folder_is_named_once(first, hpo, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HPO_MEMORY")
    note_run(tmp_path / "cache", RunDir(first))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("photo.jpg").touch()
    code, out, err = hpo("predict", "photo.jpg")
    assert (code, out) == (0, "photo.jpg: a (0.000)\n")
    assert err.count(f"run {first}") == 1


def test_a_pinned_run_that_is_gone_has_no_other_in_its_place(shelf, fails, monkeypatch):
    monkeypatch.chdir(shelf.path.parents[2] / "here")
    Path("photo.jpg").touch()
    Path("runs").mkdir()
    Path("runs/.used").write_text("shelf/20250101-000000\n")
    assert "is the run that `hpo use` pinned, and is gone" in fails("predict", "photo.jpg")


def test_a_cache_that_cannot_be_written_remembers_nothing(shelf, hpo, monkeypatch):
    monkeypatch.chdir(shelf.path.parents[2] / "here")
    Path("file").touch()
    monkeypatch.setenv("HPO_CACHE_DIR", str(Path("file/cache").absolute()))
    assert hpo("ls") == (0, "no runs below runs/; `hpo search` makes one\n", "")
    Path("photo.jpg").touch()
    assert "no runs below runs/" in hpo("predict", "photo.jpg")[2]


def test_runs_that_are_here_or_a_folder_that_is_named_are_not_passed_over(shelf, monkeypatch):
    for words in (("--out", "other"), ("another",)):
        with pytest.raises(RunError, match="below"):
            chosen(*words, looks=True)
    here = RunDir(Path("runs") / "mine" / "20250101-000000")
    here.path.mkdir(parents=True)
    here.study_file.touch()
    here.ledger_file.touch()
    assert chosen(looks=True) == here.path
    with pytest.raises(RunError, match="no run 'shelf' below runs/"):
        chosen("shelf", looks=True)


def test_who_switches_the_list_off_is_shown_none_of_it(shelf, monkeypatch):
    monkeypatch.setenv("HPO_MEMORY", "off")
    with pytest.raises(RunError, match="no runs below runs/"):
        chosen(looks=True)


def test_a_column_of_names_stands_left_whatever_they_look_like(capsys):
    print_table(["CLASS", "N"], [["007", "5"], ["nan", "-"], ["🍎", "12"], ["gru\u0308n", "1"]])
    assert capsys.readouterr().out == (
        "CLASS   N\n"
        "007     5\n"
        "nan     -\n"
        "🍎     12\n"  # an emoji is two cells wide, an accent of its own none
        "gru\u0308n    1\n"
    )
