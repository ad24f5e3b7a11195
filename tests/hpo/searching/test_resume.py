"""Going on where space, data or code have changed: refused in one line, or forced."""

import json
import os
import shlex
import sys
from dataclasses import replace

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import RunError
from hpo.core.yaml_io import parse_yaml
from hpo.run.ledger import Ledger
from hpo.run.next_commands import resume_command
from hpo.run.run_dir import RunDir, list_runs
from hpo.searching.session import resume_search, start_search
from hpo.study.provenance import ORIGIN_FILE, describe_source, find_changes, write_origin
from hpo.study.sections import DataSources
from tests.file_trainer import TRAINER, listing_skill
from tests.quick_runs import Ear, quick_study
from trainer.session import RecognitionTrainer

TWO = Budget(trials=2)
READER = RecognitionTrainer()


def search(out, study=None, ear=None):
    return start_search(study or quick_study(budget=TWO), out, (ear or Ear()).settings()).run


def go_on(run, trials=4, **settings):
    return resume_search(run, Ear().settings(**settings), budget=Budget(trials=trials))


def refused(run, trials=4):
    with pytest.raises(RunError) as caught:
        go_on(run, trials)
    line = str(caught.value)
    assert "\n" not in line
    words = f"--in-process --budget {trials}trials --force"
    assert line.endswith(f"or go on all the same with `hpo resume {run} {words}`")
    return line


def records(run):
    ledger = Ledger.open(run.ledger_file)
    found = ledger.trials()
    ledger.close()
    return found


def edit_study(run, change):
    study = parse_yaml(run.study_file.read_text(), "x")
    change(study)
    run.study_file.write_text(json.dumps(study))


def test_a_changed_range_is_named_with_what_it_was(tmp_path):
    run = search(tmp_path)
    before = run.study_file.read_text()
    edit_study(run, lambda study: study["search"].update(ranges={"train.lr": [1e-4, 1e-3]}))
    assert (
        "the search space has changed since the search began "
        "(train.lr: was 1e-05..0.1 log, is 0.0001..0.001 linear)"
    ) in refused(run)
    assert [t.number for t in records(run)] == [0, 1]
    run.study_file.write_text(before)
    assert sum(go_on(run).finished.trials.values()) == 4


def test_the_command_of_a_refusal_asks_for_what_the_start_asked_for(tmp_path):
    """Once the run keeps it, no command names it any more."""
    run = search(tmp_path)
    edit_study(run, lambda study: study["search"].update(ranges={"train.lr": [1e-4, 1e-3]}))
    weights = tmp_path / "w 1.ckpt"
    weights.touch()
    more = {"keep": "best", "disk_quota": "20GB", "budget": Budget(trials=3, seconds=60.0)}
    edit_study(run, lambda study: study["spec"].update({"fault": {"kind": "/old.ckpt"}}))
    with pytest.raises(RunError) as caught:
        resume_search(run, Ear().settings(moved={"/old.ckpt": weights}), **more)
    command = str(caught.value).split("`")[-2]
    args = shlex.split(command)[2:]
    assert args == [
        str(run), "--in-process", "--moved", f"/old.ckpt={weights}", "--budget", "3trials,60s",
        "--keep", "best", "--disk-quota", "20GB", "--force",
    ]  # fmt: skip
    resume_search(run, Ear().settings(moved={"/old.ckpt": weights}, force=True), **more)
    assert resume_command(run) == f"hpo resume {run} --in-process"


@pytest.mark.parametrize("algorithm", ["tpe", "random"])
def test_forced_it_searches_the_new_range_and_keeps_what_was_found(tmp_path, algorithm, caplog):
    study = quick_study(budget=TWO)
    study = replace(study, search=replace(study.search, algorithm=algorithm))
    run = search(tmp_path, study)
    old = records(run)
    edit_study(run, lambda study: study["search"].update(ranges={"train.lr": [0.02, 0.03]}))
    finished = go_on(run, 6, force=True).finished
    trials = records(run)
    assert [t.params for t in trials[:2]] == [t.params for t in old]
    assert all(0.02 <= t.params["train.lr"] <= 0.03 for t in trials[2:])
    assert sum(finished.trials.values()) == 6
    assert "going on with --force although the search space has changed" in caplog.text
    go_on(run, 7)  # what it was forced to is what it goes on with from then on
    assert len(records(run)) == 7


@pytest.mark.parametrize("algorithm", ["mfbo", "dehb"])
def test_forced_it_goes_on_without_an_option_that_trials_had(tmp_path, algorithm):
    options = {"train.width": [16, 64, 256], "train.margin": [0.1, 0.3, 0.9]}
    study = quick_study(budget=Budget(trials=12))
    run = search(
        tmp_path, replace(study, search=replace(study.search, algorithm=algorithm, options=options))
    )
    assert 16 in {t.params["train.width"] for t in records(run)}
    left = {"train.width": [64, 256], "train.margin": [0.3, 0.9]}
    edit_study(run, lambda study: study["search"].update(options=left))
    assert sum(go_on(run, 24, force=True).finished.trials.values()) == 24
    new = [t for t in records(run)[12:] if t.start_from is None]
    assert {t.params["train.width"] for t in new} <= {64, 256}
    assert {t.params["train.margin"] for t in new} <= {0.3, 0.9}
    assert sum(go_on(run, 26).finished.trials.values()) == 26


@pytest.fixture
def pictures(tmp_path):
    """Folders of a few files, as a study with data of its own."""
    folder = tmp_path / "data"
    for name in ("train", "reference", "query"):
        (folder / name / "a").mkdir(parents=True)
        (folder / name / "a" / "1.png").write_bytes(b"one")
        (folder / name / "a" / "2.png").write_bytes(b"two")
    data = DataSources(**{n: str(folder / n) for n in ("train", "reference", "query")})
    return folder, replace(quick_study(budget=TWO), data=data)


def test_changed_pictures_are_refused_and_a_finished_run_is_still_told(tmp_path, pictures):
    folder, study = pictures
    run = search(tmp_path / "runs", study)
    (folder / "reference" / "a" / "3.png").write_bytes(b"three")
    line = refused(run)
    assert "the data have changed since the search began (reference: was 2 files" in line
    assert "is 3 files" in line
    assert resume_search(run, Ear().settings()).finished
    assert sum(go_on(run, force=True).finished.trials.values()) == 4


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file that trials start from, and a study of them."""
    monkeypatch.setattr(TRAINER, "skill_dir", listing_skill(tmp_path / "skill"))
    (file := tmp_path / "latest.ckpt").write_bytes(b"monday")
    study = quick_study({"start.file": str(file)}, budget=TWO)
    return file, replace(study, trainer="tests.file_trainer:TRAINER")


def test_weights_that_were_overwritten_are_refused(tmp_path, weights):
    file, study = weights
    run = search(tmp_path / "runs", study)
    file.write_bytes(b"tuesday")
    line = refused(run)
    assert "the files that training starts from have changed since the search began (start" in line
    assert "(start.file: was 6 bytes, digest " in line
    assert sum(go_on(run, force=True).finished.trials.values()) == 4
    origin = json.loads((run.path / ORIGIN_FILE).read_text())
    del origin["files"]  # as of an earlier release
    (run.path / ORIGIN_FILE).write_text(json.dumps(origin))
    file.write_bytes(b"wednesday")
    assert sum(go_on(run, 5).finished.trials.values()) == 5


def test_weights_that_are_overwritten_while_a_search_goes_on_end_it(tmp_path, weights):
    file, study = weights

    class Writer(Ear):
        def handle(self, event):
            if event.name == "trial_finished":
                file.write_bytes(b"tuesday")

    with pytest.raises(RunError, match=r"start.file: .* must stay the file that the search began"):
        search(tmp_path / "runs", study, Writer())
    (run,) = list_runs(tmp_path / "runs")
    assert [t.epochs for t in records(run)] == [9, 0]
    file.write_bytes(b"monday")
    assert sum(go_on(run).finished.trials.values()) == 4


def test_a_search_that_gave_up_is_compared_before_it_goes_on(tmp_path, pictures):
    """Its cause is mended by then, often in the pictures themselves."""
    folder, study = pictures
    fault = {"fault.kind": "raise@1:1 raise@2:1 raise@3:1"}
    run = search(tmp_path / "runs", replace(study, spec=fault, budget=Budget(trials=6)))
    assert len(records(run)) == 4
    told = run.read_state()["finished"]
    assert told["ended_because"] == "RuntimeError: the loss exploded on purpose"
    (folder / "train" / "a" / "1.png").write_bytes(b"mended")
    with pytest.raises(RunError, match="the data have changed since the search began"):
        resume_search(run, Ear().settings())
    assert len(records(run)) == 4
    finished = resume_search(run, Ear().settings(force=True)).finished
    assert sum(finished.trials.values()) == 6
    assert resume_search(run, Ear().settings()).finished == finished  # by its budget, so only told


def test_what_leaves_the_pictures_as_they_are_changes_nothing(pictures):
    folder, _ = pictures
    before = describe_source(str(folder / "train"))
    os.utime(folder / "train" / "a" / "1.png", (1, 1))
    moved = folder.with_name("elsewhere")
    folder.rename(moved)
    assert describe_source(str(moved / "train")) == before
    (moved / "train" / "a" / "1.png").write_bytes(b"eno")
    assert describe_source(str(moved / "train")) != before
    (moved / "train" / "again").symlink_to(moved / "train")
    assert describe_source(str(moved / "train")).startswith("2 files")
    assert describe_source("s3://bucket/train") == "s3://bucket/train"
    assert describe_source(str(folder)).startswith("0 files")


def test_what_a_file_manager_or_a_person_leaves_beside_pictures_changes_nothing(pictures):
    folder = pictures[0] / "train"
    before = describe_source(str(folder), READER)
    for name in ("Thumbs.db", "readme.txt", "1.xmp"):
        (folder / "a" / name).write_bytes(b"no picture")
    assert describe_source(str(folder), READER) == before
    (folder / "a" / "more.png").write_bytes(b"two")
    assert describe_source(str(folder), READER) != before


def test_changed_code_of_the_trainer_is_refused(tmp_path, monkeypatch):
    source = tmp_path / "my_trainer.py"
    source.write_text(
        "from tests.quick_trainer import QuickTrainer\n\n\nclass Mine(QuickTrainer):\n"
        '    name = "mine"\n\n\nTRAINER = Mine()\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("HPO_TRAINER_MODULES", "tests,my_trainer")
    run = search(tmp_path / "runs", replace(quick_study(budget=TWO), trainer="my_trainer:TRAINER"))
    source.write_text(source.read_text() + "# another word\n")
    line = refused(run)
    assert "the code has changed since the search began (my_trainer.py: was digest " in line
    assert sum(go_on(run, force=True).finished.trials.values()) == 4
    sys.modules.pop("my_trainer")


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        ({"b c/info.yaml": "1", "b c/a/info.yaml": "2"}, ""),
        ({"b c/info.yaml": "1", "b c/a/info.yaml": "3"}, "b c/a/info.yaml: was 2, is 3"),
        ({"b c/info.yaml": "1"}, "b c/a/info.yaml: was 2, is absent"),
        ({"a/info.yaml": "0", "b/info.yaml": "2"}, "a/info.yaml: was 1, is 0"),
    ],
)
def test_a_skill_folder_that_was_renamed_is_the_same_code(tmp_path, now, changed):
    run, own = RunDir(tmp_path), {"algorithms/tpe.py": "4", "torch": "2.0"}
    before = {"code": {"a/info.yaml": "1", "a/a/info.yaml": "2", **own}}
    write_origin(tmp_path, before)
    told = find_changes(run, {"code": {**now, **own}, "data": {}, "space": {}, "files": {}}, {})
    assert bool(told) == bool(changed)
    assert changed in "".join(told)


def test_another_version_of_a_library_is_refused(tmp_path):
    run = search(tmp_path)
    file = run.path / ORIGIN_FILE
    origin = json.loads(file.read_text())
    now, origin["code"]["optuna"] = origin["code"]["optuna"], "3.0.0"
    file.write_text(json.dumps(origin))
    assert f"(optuna: was 3.0.0, is {now})" in refused(run)


def test_many_changes_are_counted_not_listed(tmp_path):
    run = search(tmp_path)
    file = run.path / ORIGIN_FILE
    origin = json.loads(file.read_text())
    origin["code"] |= {f"old{n}.py": "digest 0" for n in range(9)}
    file.write_text(json.dumps(origin))
    assert "; and 6 more)" in refused(run)


def test_a_run_that_has_kept_nothing_goes_on(tmp_path):
    run = search(tmp_path)
    (run.path / ORIGIN_FILE).unlink()
    assert sum(go_on(run).finished.trials.values()) == 4
