"""What stays on disk, against the rule of who wins; and removals that touch nothing else."""

import json
import os
import random
import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.core.errors import SpecError
from hpo.core.selection import best_trial, finalists
from hpo.core.trial import Measurement, Suggestion, TrialRecord, TrialState
from hpo.run.checkpoint_retention import (
    MARK,
    check_keep,
    describe_removed,
    needed_trials,
    remove_checkpoints,
    was_removed,
)
from hpo.run.checkpoints import best_checkpoint
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir


def trial(number, values, state="complete", *, until=9, start_from=None, purpose="search", lr=None):
    first = (start_from[1] if start_from else 0) + 1
    return TrialRecord(
        number=number, state=TrialState(state), params={"lr": number if lr is None else lr},
        latents={}, until_epoch=until, start_from=start_from, purpose=purpose,
        measurements=[Measurement(epoch=first + i, value=v) for i, v in enumerate(values)],
    )  # fmt: skip


def test_the_best_at_the_largest_budget_the_default_and_the_running_stay():
    trials = [
        trial(0, [0.1, 0.2, 0.3]),
        trial(1, [0.9], "pruned"),  # better, and after fewer epochs
        trial(2, [0.1, 0.5, 0.6]),
        trial(3, [0.1, 0.5, 0.6]),  # a tie: the earlier one wins
        trial(4, [0.1, 0.2, 0.4]),
        trial(5, [], "failed"),
        trial(6, [0.2], "running"),
    ]
    assert needed_trials(trials, "maximize") == {0, 2, 6}
    assert needed_trials(trials, "minimize") == {0, 6}
    assert needed_trials(trials, "maximize", confirm=2) == {0, 2, 3, 6}
    assert needed_trials(trials, "maximize", start_points=[4]) == {0, 2, 4, 6}


def test_a_running_leader_may_still_fail():
    trials = [trial(0, [0.1, 0.2]), trial(1, [0.1, 0.5]), trial(2, [0.1, 0.2, 0.9], "running")]
    assert needed_trials(trials, "maximize") == {0, 1, 2}
    trials[2].state = TrialState.FAILED
    assert best_trial(trials, "maximize").number == 1


def test_what_an_open_trial_starts_from_stays_until_it_has_ended():
    trials = [
        trial(0, [0.1] * 9), trial(1, [0.2, 0.2]), trial(2, [0.3, 0.3]),
        trial(3, [], "running", start_from=(1, 2)),
    ]  # fmt: skip
    assert needed_trials(trials, "maximize") == {0, 1, 3}
    trials[3] = trial(3, [0.4], "complete", start_from=(1, 2))
    assert needed_trials(trials, "maximize") == {0}


def test_repeats_stay_until_they_were_compared_and_their_finalists_for_good():
    trials = [
        trial(0, [0.3]), trial(1, [0.5]), trial(2, [0.4]),
        trial(3, [0.2], purpose="confirm", lr=1), trial(4, [0.6], purpose="confirm", lr=2),
    ]  # fmt: skip
    assert needed_trials(trials, "maximize", confirm=2) == {0, 1, 2, 3, 4}
    compared = needed_trials(trials, "maximize", confirm=2, compared=lambda t: t.number == 3)
    assert compared == {0, 1, 2, 4}
    extended = [*trials, trial(5, [0.9]), trial(6, [0.8])]  # the same study, twenty more trials
    assert {1, 2} < needed_trials(extended, "maximize", confirm=2)


def test_a_twin_of_the_default_stays_while_that_one_has_no_result():
    trials = [trial(0, [], "running", lr=1), trial(1, [0.4], lr=1), trial(2, [0.5], lr=2)]
    assert needed_trials(trials, "maximize") == {0, 1, 2}


STATES = st.sampled_from(["complete", "complete", "pruned", "failed"])
LENGTHS, VALUES = st.integers(1, 3), st.integers(0, 4)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(STATES, LENGTHS, VALUES, st.integers(0, 3)), min_size=1, max_size=14),
    st.integers(0, 3), st.sampled_from(["maximize", "minimize"]), st.integers(0, 9),
)  # fmt: skip
def test_nobody_who_is_removed_ever_wins(facts, confirm, direction, seed):
    """Trials of three at a time end in any order; whoever wins at any moment was never let go."""
    rng, trials, open_trials, gone = random.Random(seed), [], [], set()
    plan = list(enumerate(facts))

    def look():
        for winner in (
            best_trial(trials, direction),
            *finalists(trials, direction, max(1, confirm)),
        ):
            assert winner is None or winner.number not in gone
        kept = needed_trials(trials, direction, confirm=confirm)
        gone.update({t.number for t in trials} - kept)
        assert not gone & {t.number for t in open_trials}

    while plan or open_trials:
        while plan and len(open_trials) < 3:
            number, (state, length, value, lr) = plan.pop(0)
            made = trial(number, [value / 10] * rng.randint(0, length), "running", lr=lr)
            trials.append(made)
            open_trials.append(made)
            look()
        ended = open_trials.pop(rng.randrange(len(open_trials)))
        state, length, value, _ = facts[ended.number]
        ended.measurements = [Measurement(epoch=e + 1, value=float(value)) for e in range(length)]
        ended.state = TrialState(state)
        look()


# Removing --------------------------------------------------------------------------------------


def run_with(tmp_path, number=3, files=("last.ckpt", "best.ckpt", ".last.ckpt.12.34.tmp")):
    run = RunDir(tmp_path / "run")
    folder = run.checkpoints_dir(number)
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_bytes(bytes(5000))
    (run.trial_dir(number) / "spec.yaml").write_text("lr: 1\n")
    return run, folder


def test_checkpoints_go_and_the_rest_of_the_trial_stays(tmp_path):
    run, folder = run_with(tmp_path)
    assert not was_removed(run, 3)
    freed = remove_checkpoints(run, 3)
    assert 15_000 <= freed <= 3 * 8192
    assert [path.name for path in folder.iterdir()] == [MARK]
    assert "keep: best" in (folder / MARK).read_text()
    assert (run.trial_dir(3) / "spec.yaml").read_text() == "lr: 1\n"
    assert was_removed(run, 3)
    told = describe_removed(run, 3)
    assert told.startswith(
        "trial 3: its checkpoints were removed once nothing in the search could need them (`keep: "
        "best`); train it again in its folder to have them (`"
    )
    words = shlex.split(told.split("`")[3])
    assert words[:4] == ["ml_recog", "train", "-e", f"{run.trial_dir(3)}/spec.yaml"]
    again = Path(words[4].removeprefix("results_dir=")) / "train/ckpt/best.ckpt"  # as it trains
    again.parent.mkdir(parents=True)
    again.touch()
    assert best_checkpoint(run, trial(3, [0.5]), "maximize") == again


def test_a_trial_of_a_run_that_was_moved_is_trained_again_from_its_parent(tmp_path):
    run, _ = run_with(tmp_path)
    other = tmp_path / "other" / "trials" / "0001" / "ckpt" / "best.ckpt"
    run_with(tmp_path, 1), other.parent.mkdir(parents=True)
    other.touch()
    old = "/before/run/trials/{}/ckpt/best.ckpt"
    spec = {"train": {"head": old.format("0001")}, "lost": old.format("0002"), "own": str(other)}
    (run.trial_dir(3) / "spec.yaml").write_text(json.dumps(spec))
    words = shlex.split(describe_removed(run, 3).split("`")[3])
    assert words[4:] == [f"results_dir={run.trial_dir(3)}",
                         f"train.head={run.checkpoints_dir(1)}/best.ckpt"]  # fmt: skip
    (run.trial_dir(3) / "spec.yaml").write_text("{")
    assert f"results_dir={run.trial_dir(3)}`" in describe_removed(run, 3)


@pytest.mark.parametrize(
    ("receipt", "words"),
    [
        ({"threads": 2}, ["OMP_NUM_THREADS=2", "ml_recog"]),
        ({"threads": None}, ["ml_recog"]),
        ({}, ["ml_recog"]),
        (None, ["ml_recog"]),
    ],
)
def test_a_trial_is_trained_again_with_as_many_threads(tmp_path, receipt, words):
    run, _ = run_with(tmp_path, 0)
    ledger = Ledger.create(run.ledger_file, "maximize")
    ledger.start(Suggestion(number=0, params={}, latents={}, until_epoch=1), now=1.0, clock=1.0)
    ledger.annotate(0, receipt=receipt)
    ledger.close()
    told = shlex.split(describe_removed(run, 0).split("`")[3])
    assert told[: len(words)] == words


@pytest.mark.parametrize("left", [("last.ckpt",), (), (MARK, "best.ckpt")])
def test_a_removal_that_was_cut_off_is_finished_by_the_next(tmp_path, left):
    run, folder = run_with(tmp_path, files=left)
    assert remove_checkpoints(run, 3) is not None
    assert [path.name for path in folder.iterdir()] == [MARK]
    assert remove_checkpoints(run, 3) is None


def test_a_trial_without_checkpoints_stays_as_it_is(tmp_path):
    run = RunDir(tmp_path)
    assert remove_checkpoints(run, 7) is None
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_removed_and_never_what_it_points_to(tmp_path):
    run, folder = run_with(tmp_path)
    others = tmp_path / "others"
    (others / "deep").mkdir(parents=True)
    (others / "precious.ckpt").write_text("mine")
    (folder / "link.ckpt").symlink_to(others / "precious.ckpt")
    (folder / "folder").symlink_to(others)
    (folder / "own").mkdir()
    (folder / "own" / "further").symlink_to(others / "deep")
    os.link(others / "precious.ckpt", folder / "second_name.ckpt")
    remove_checkpoints(run, 3)
    assert [path.name for path in folder.iterdir()] == [MARK]
    assert (others / "precious.ckpt").read_text() == "mine"
    assert (others / "deep").is_dir()


@pytest.mark.parametrize("what", ["ckpt", "trial", "trials"])
def test_a_folder_behind_a_link_is_somebody_elses(tmp_path, what):
    run, folder = run_with(tmp_path)
    moved = {"ckpt": folder, "trial": folder.parent, "trials": folder.parent.parent}[what]
    moved.rename(tmp_path / "elsewhere")
    moved.symlink_to(tmp_path / "elsewhere")
    assert remove_checkpoints(run, 3) is None
    assert (folder / "best.ckpt").is_file()


def test_there_are_two_ways_to_keep():
    assert [check_keep(word, "keep") for word in ("best", "all")] == ["best", "all"]
    with pytest.raises(SpecError, match=r"^study.yaml: keep: must be best or all, got 'none'"):
        check_keep("none", "study.yaml: keep")
