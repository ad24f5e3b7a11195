"""The list of runs on this machine."""

import pytest

from hpo.run.run_dir import AUTOML_FACTS, RunDir
from hpo.run.run_index import INDEX_FILE, known_runs, note_run


@pytest.fixture(autouse=True)
def switched_on(monkeypatch):
    monkeypatch.delenv("HPO_MEMORY")


def made(folder, name):
    run = RunDir(folder / "shop" / name)
    run.path.mkdir(parents=True)
    run.study_file.touch()
    run.ledger_file.touch()
    return run


def test_runs_of_other_folders_are_found_by_the_list_and_those_that_are_gone_are_not(tmp_path):
    cache, out = tmp_path / "cache", tmp_path / "here"
    assert known_runs(cache, out) == []
    here, away = made(out, "20260102-000000"), made(tmp_path / "a place", "20260103-000000")
    gone = RunDir(tmp_path / "gone" / "shop" / "20260104-000000")
    for run in (here, away, gone, away):
        note_run(cache, run)
    assert (cache / INDEX_FILE).read_text().splitlines() == [str(here), str(away), str(gone)]
    assert [run.path for run in known_runs(cache, out)] == [away.path, here.path]


@pytest.mark.parametrize("word", ["off", "0", "No"])
def test_what_is_not_put_on_the_list(tmp_path, monkeypatch, word):
    route = made(tmp_path, "run_20260102-000000")
    (route.path / AUTOML_FACTS).parent.mkdir(parents=True)
    (route.path / AUTOML_FACTS).touch()
    note_run(tmp_path / "cache", route)
    monkeypatch.setenv("HPO_MEMORY", word)
    note_run(tmp_path / "cache", made(tmp_path, "20260102-000000"))
    assert not (tmp_path / "cache").exists()


def test_a_list_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "cache").touch()
    note_run(tmp_path / "cache", made(tmp_path, "20260102-000000"))
    assert len(known_runs(tmp_path / "cache", tmp_path)) == 1


def test_what_cannot_be_reached_is_passed_over(tmp_path):
    cache, here = tmp_path / "cache", made(tmp_path / "a\u2028b", "20260102-000000")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    note_run(cache, here)
    with (cache / INDEX_FILE).open("a") as file:
        file.write(f"/{'x' * 300}/run\n/a\0b\n{loop}/shop/run\nno path\n")
    assert [run.path for run in known_runs(cache, tmp_path / "out")] == [here.path]
    note_run(cache, here)
    assert (cache / INDEX_FILE).read_text().count(str(here)) == 1


def test_only_the_newest_runs_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("hpo.run.run_index.MOST_RUNS", 2)
    runs = [made(tmp_path, f"2026010{day}-000000") for day in (1, 2, 3)]
    assert [run.path for run in known_runs(tmp_path / "cache", tmp_path)] == [
        runs[2].path, runs[1].path,
    ]  # fmt: skip


def test_a_run_is_remembered_where_it_was_found_and_listed_once(tmp_path):
    real = made(tmp_path / "big", "20260102-000000")
    link = tmp_path / "runs" / "photos" / real.path.name
    link.parent.mkdir(parents=True)
    link.symlink_to(real.path)
    for run in (RunDir(link), real):
        note_run(tmp_path / "cache", run)
    assert [run.study_name for run in known_runs(tmp_path / "cache", tmp_path / "runs")] == [
        "photos"
    ]


def test_a_renamed_run_is_no_newer(tmp_path):
    named, later = made(tmp_path, "baseline"), made(tmp_path, "20260103-000000")
    named.events_file.write_text('{"time": 1700000000.5}\n')
    assert [run.path for run in known_runs(tmp_path / "cache", tmp_path)] == [
        later.path, named.path,
    ]  # fmt: skip
