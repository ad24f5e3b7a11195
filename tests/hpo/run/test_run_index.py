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


def test_what_is_not_put_on_the_list(tmp_path, monkeypatch):
    route = made(tmp_path, "run_20260102-000000")
    (route.path / AUTOML_FACTS).parent.mkdir(parents=True)
    (route.path / AUTOML_FACTS).touch()
    note_run(tmp_path / "cache", route)
    monkeypatch.setenv("HPO_MEMORY", "off")
    note_run(tmp_path / "cache", made(tmp_path, "20260102-000000"))
    assert not (tmp_path / "cache").exists()


def test_a_list_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "cache").touch()
    note_run(tmp_path / "cache", made(tmp_path, "20260102-000000"))
    assert len(known_runs(tmp_path / "cache", tmp_path)) == 1
