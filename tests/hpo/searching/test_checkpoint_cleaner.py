"""Whole searches that keep what is needed, wait for room, and tell both."""

import json
import shutil
import sqlite3
from dataclasses import replace

import pytest

import hpo.run.disk_space
from hpo.core.budget import Budget
from hpo.core.events import Exported, Paused, TrialFinished
from hpo.core.trial import Purpose, Suggestion, TrialState
from hpo.core.yaml_io import read_yaml
from hpo.run.checkpoint_retention import MARK
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.checkpoint_cleaner import Keeper
from hpo.searching.session import resume_search, start_search
from hpo.searching.warm_start import NoCheckpointError, find_start
from hpo.study.sections import SearchOptions
from tests.quick_runs import Ear, quick_study

MB = 1_000_000
STUDY = quick_study(budget=Budget(trials=8), search=SearchOptions(algorithm="random"))


def kept(run):
    """Trials that still have a checkpoint."""
    return {int(path.parents[1].name) for path in run.path.glob("trials/*/ckpt/best.ckpt")}


def winner(result):
    return result.finished.best["trial"]


def begun_ledger():
    """One trial, which has begun."""
    ledger = Ledger.create(None, "maximize")
    suggestion = Suggestion(number=0, params={}, latents={}, until_epoch=9)
    ledger.start(suggestion, now=0.0, clock=0.0, seed=0, purpose=Purpose.SEARCH)
    return ledger


@pytest.fixture
def quick_room(monkeypatch):
    monkeypatch.setattr(hpo.run.disk_space, "REST_S", 0.01)
    monkeypatch.setattr(hpo.run.disk_space, "LOOK_EVERY_S", 0.02)


def test_winner_and_default_stay_and_the_rest_goes_as_it_ends(tmp_path):
    ear = Ear()
    result = start_search(STUDY, tmp_path, ear.settings(probe=False))
    assert kept(result.run) == {0, winner(result)}
    removed = ear.named("checkpoints_removed")
    assert {event["trial"] for event in removed} == set(range(8)) - {0, winner(result)}
    assert all(event["bytes"] > 0 for event in removed)
    names = ear.names()  # at once, and only after the result was written
    assert names.index("checkpoints_removed") < len(names) - 1 - names[::-1].index("trial_started")
    lines = (result.run.events_file).read_text().splitlines()
    assert sum(json.loads(line)["event"] == "checkpoints_removed" for line in lines) == len(removed)


def test_keep_all_keeps_all(tmp_path):
    result = start_search(replace(STUDY, keep="all"), tmp_path, Ear().settings(probe=False))
    assert kept(result.run) == set(range(8))


def test_a_finished_run_can_be_tidied_and_then_extended(tmp_path):
    """Whatever is best in the end can be exported, and it is who would be best with all kept."""
    settings = Ear().settings(probe=False)
    result = start_search(replace(STUDY, keep="all"), tmp_path, settings)
    run = result.run
    again = resume_search(run, settings, keep="best")
    assert kept(run) == {0, winner(again)} == {0, winner(result)}
    assert read_yaml(run.study_file)["keep"] == "best"
    longer = resume_search(run, settings, budget=Budget(trials=12))
    assert kept(run) == {0, winner(longer)}
    assert (run.best_dir / "model.onnx").is_file()
    whole = replace(STUDY, budget=Budget(trials=12), keep="all", name="whole")
    assert winner(start_search(whole, tmp_path, settings)) == winner(longer)


def test_finalists_stay_for_their_comparison_and_for_an_extension(tmp_path):
    study = replace(STUDY, search=replace(STUDY.search, confirm=2, pruner="none"))
    ear = Ear()
    result = start_search(study, tmp_path, ear.settings(probe=False))
    standings = ear.named("chosen")[0]["standings"]
    assert len(standings) == 3  # two finalists and the default, each evaluated from its checkpoint
    assert kept(result.run) == {row["number"] for row in standings}
    assert not {event["trial"] for event in ear.named("confirmed")} & kept(result.run)


@pytest.mark.parametrize("name", ["pbt", "dehb"])
def test_trials_that_start_from_others_find_them(tmp_path, name):
    """The search with all kept is the same one."""
    options = {"population_size": 4} if name == "pbt" else {}
    search = SearchOptions(algorithm=name, algorithm_options=options)
    rows = []
    for keep in ("best", "all"):
        study = quick_study(budget=Budget(trials=14), search=search, keep=keep)
        result = start_search(replace(study, name=keep), tmp_path, Ear().settings(probe=False))
        ledger = Ledger.open(result.run.ledger_file)
        rows.append([(str(t.state), t.params, t.start_from, t.value) for t in ledger.trials()])
        assert (len(kept(result.run)) == len(rows[-1])) == (keep == "all")
    assert rows[0] == rows[1]
    assert any(row[2] for row in rows[0])


def test_a_search_that_was_killed_in_a_removal_removes_the_rest_when_it_goes_on(tmp_path):
    whole = start_search(STUDY, tmp_path, Ear().settings(probe=False)).run
    ear = Ear(stop_after=(6, 1))
    run = start_search(replace(STUDY, name="cut"), tmp_path, ear.settings(probe=False)).run
    victim = min(set(range(6)) - kept(run))
    folder = run.checkpoints_dir(victim)
    (folder / MARK).unlink()
    (folder / "last.ckpt").write_text("left by a kill between two files")
    resume_search(run, Ear().settings(probe=False))
    assert [path.name for path in folder.iterdir()] == [MARK]
    assert kept(run) == kept(whole)


def test_what_a_stopped_trial_writes_after_its_end_goes_too(tmp_path):
    """With Ray the search learns of an end before the worker stops, which may still write a checkpoint."""
    run = start_search(STUDY, tmp_path, Ear().settings(probe=False)).run
    victim = min(set(range(8)) - kept(run))
    file, clock, removed = run.checkpoints_dir(victim) / "last.ckpt", [0.0], []
    keeper = Keeper(
        run, Ledger.open(run.ledger_file), object(),
        keep="best", confirm=0, emit=removed.append, now=lambda: clock[0],
    )  # fmt: skip

    def is_removed_by(event, after_s):
        clock[0] += after_s
        file.write_text("late")
        keeper.handle(event)
        return not file.exists()

    ended = TrialFinished(trial=victim, state=TrialState.PRUNED)
    assert is_removed_by(ended, after_s=0.0)
    keeper.handle(ended)  # an end of another trial, with nothing there at this moment
    assert is_removed_by(ended, after_s=2.0)
    assert not is_removed_by(ended, after_s=0.5)  # many end within a second where they are short
    keeper.handle(ended)
    clock[0] += 1000.0  # no trial has ended for long
    assert is_removed_by(ended, after_s=1000.0)
    clock[0] += 1000.0
    keeper.handle(ended)
    assert not is_removed_by(ended, after_s=1.0)  # nobody looks again and again
    assert is_removed_by(Exported(trial=0, result={}), after_s=1.0)
    assert [(event.trial, event.bytes > 0) for event in removed] == [(victim, True)] * 4


def test_where_looking_takes_long_not_every_end_waits_for_it_unless_room_is_scarce(tmp_path):
    """Each look takes a second, so 20 pass before the next; the last ones are never left out."""
    clock, looks, scarce = [0.0], [], [False]
    keeper = Keeper(
        RunDir(tmp_path), begun_ledger(), object(),
        keep="best", confirm=0, emit=looks.append, now=lambda: clock[0],
    )  # fmt: skip
    keeper.is_scarce = lambda: scarce[0]

    def look(_trials):
        clock[0] += 0.5  # it is asked of all trials and of those that have ended
        looks.append(clock[0])
        return ()

    def sees(event, after_s, is_scarce=False):
        looks.clear()
        clock[0] += after_s
        scarce[0] = is_scarce
        keeper.handle(event)
        return bool(looks)

    keeper.also = look
    ended = TrialFinished(trial=0, state=TrialState.PRUNED)
    assert sees(ended, 0.0)
    assert not sees(ended, 19.0)
    assert sees(ended, 0.0, is_scarce=True)
    assert not sees(ended, 19.0)
    assert sees(ended, 1.0)
    assert sees(Exported(trial=0, result={}), 0.0)


def test_a_trial_that_would_start_from_a_removed_checkpoint_says_so(tmp_path):
    run = start_search(STUDY, tmp_path, Ear().settings(probe=False)).run
    ledger = Ledger.open(run.ledger_file)
    gone = min(set(range(8)) - kept(run))
    source = ledger.trial(gone)
    record = replace(source, number=99, start_from=(gone, source.epochs), measurements=[])
    with pytest.raises(NoCheckpointError, match=rf"trial {gone}: its checkpoints were removed"):
        find_start(run, record, ledger)


# DiskSpace -------------------------------------------------------------------------------------------


def rows_of(run):
    with sqlite3.connect(run.ledger_file) as base:
        return base.execute(
            "SELECT number, state, value FROM trials LEFT JOIN trial_values USING (trial_id)"
        ).fetchall()


def test_a_search_waits_for_room_and_ends_as_without(tmp_path, quick_room):
    whole = start_search(STUDY, tmp_path, Ear().settings(probe=False))
    ear, asked = Ear(), []

    def free(_folder):
        asked.append(1)
        return 500 if 30 <= len(asked) < 60 else 500 * MB

    study = replace(STUDY, name="waits")
    result = start_search(study, tmp_path, ear.settings(probe=False, free_space=free))
    assert rows_of(result.run) == rows_of(whole.run)
    assert len(ear.named("paused")) == len(ear.named("continued")) == 1
    text = ear.named("paused")[0]["text"]
    assert f"the disk of {result.run} has 500 bytes free, and a trial needs" in text
    assert "the search goes on by itself when there is room; Ctrl-C stops" in text
    assert len(ear.named("disk_low")) <= 1


def test_a_quota_is_kept_and_a_larger_one_goes_on(tmp_path, quick_room):
    class Impatient(Ear):
        """Stops a search that waits."""

        def handle(self, event):
            super().handle(event)
            self.wish = self.wish or isinstance(event, Paused)

    ear = Impatient()
    fill = {"fill": lambda folder: (folder / "ballast").write_bytes(bytes(5 * MB))}
    study = replace(STUDY, disk_quota="5MB")
    result = start_search(study, tmp_path, ear.settings(probe=False, **fill))
    assert result.finished is None
    text = ear.named("paused")[0]["text"]
    assert f"{result.run} takes 5." in text
    assert "of its quota of 5.0 MB, and a trial needs" in text
    assert ear.named("trial_started") == []
    done = resume_search(result.run, Ear().settings(probe=False), disk_quota="50MB")
    assert done.finished.trials["complete"] >= 1
    assert read_yaml(result.run.study_file)["disk_quota"] == "50MB"


def test_the_review_says_before_the_start_that_room_is_short(tmp_path, monkeypatch):
    from tests.quick_trainer import QuickTrainer

    probe = QuickTrainer.probe
    monkeypatch.setattr(
        QuickTrainer, "probe", lambda self, spec: {**probe(self, spec), "checkpoint_bytes": 10 * MB}
    )
    found = {}
    for keep, free in (("best", 100 * MB), ("all", 100 * MB), ("best", 60 * MB)):
        ear = Ear()
        settings = ear.settings(
            free_space=lambda _, free=free: free, confirm_start=lambda review: False
        )
        start_search(replace(STUDY, keep=keep), tmp_path, settings)
        found[keep, free] = [w for w in ear.named("review")[0]["warnings"] if w.startswith("disk")]
    assert found["best", 100 * MB] == []
    (line,) = found["all", 100 * MB]
    assert "checkpoints of 10.0 MB each will take up to 190.3 MB (--keep all)" in line  # 8 x 2 + 3
    assert "make room or give --keep best" in line
    assert "up to 70.3 MB (--keep best); make room, or" in found["best", 60 * MB][0]  # 2 x 2 + 3


def test_nothing_is_removed_behind_a_link(tmp_path):
    """Checkpoints that somebody has moved to another disk."""
    ear = Ear(stop_after=(0, 1))
    run = start_search(STUDY, tmp_path, ear.settings(probe=False)).run
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run.trial_dir(3).mkdir(parents=True)
    run.checkpoints_dir(3).symlink_to(elsewhere)
    result = resume_search(run, Ear().settings(probe=False))
    assert winner(result) != 3
    assert (elsewhere / "best.ckpt").is_file()
    shutil.rmtree(elsewhere)
