"""Trials as jobs of a platform: one that runs local processes, and one that fails in every way."""

import json
import logging
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpo import AutoMLRunner, query_status
from hpo.automl import platform
from hpo.automl.sdk import call_with_known, exists_by, id_of, status_of
from hpo.core.errors import RunError, SpecError
from hpo.jobs import LocalJobs
from tests.hpo.automl.foreign import make_foreign_skill

QUICK = {"poll_interval": 0.02}


class Scripted:
    """A platform in memory: every job answers as `script(number, poll)` says.

    The answer is (status, log) or an exception to raise; the number counts submissions from 0.
    """

    def __init__(self, script, results=""):
        self.script, self.results = script, results
        self.created, self.polls = [], {}

    def create_job(self, *, specs, command, image, name, **more):
        number = len(self.created)
        self.created.append(SimpleNamespace(specs=specs, command=command, name=name, more=more))
        answer = self.script(number, 0)
        if isinstance(answer, Exception):
            raise answer
        self.polls[f"job-{number}"] = 0
        return SimpleNamespace(id=f"job-{number}", results_dir=self.results)

    def _answer(self, job_id):
        answer = self.script(int(job_id.partition("-")[2]), self.polls[job_id])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def get_job_status(self, job_id):
        if job_id not in self.polls:
            raise KeyError(job_id)
        self.polls[job_id] += 1
        return SimpleNamespace(status=self._answer(job_id)[0])

    def get_job_logs(self, job_id):
        return self._answer(job_id)[1]

    def get_failure_analysis(self, job_id):
        return {"category": "out_of_memory", "message": "the card was full"}


@pytest.fixture
def foreign(tmp_path):
    return make_foreign_skill(tmp_path / "skill")


@pytest.fixture
def search(foreign, tmp_path):
    def go(sdk, *, settings=None, **more):
        given = {"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 3}
        return AutoMLRunner(skill_dir=foreign, sdk=sdk).run(
            automl_settings=given | (settings or {}),
            spec_overrides=more.pop("overrides", {"tell.where": "log"}),
            workspace_path=more.pop("workspace_path", tmp_path / "ws"),
            **(QUICK | more),
        )

    return go


class PulledPlug(BaseException):
    """Ends the driver as a kill does: nothing that follows is done."""


class Folders(Scripted):
    """Its jobs have folders of their own, with a checkpoint of the epoch that they train until.

    The first epoch is called `first` in the names of checkpoints.
    """

    def __init__(self, script, root, *, metrics=None, first=1):
        super().__init__(script)
        self.root, self.metrics, self.first = root, metrics, first

    def create_job(self, *, specs, command, image, name, env_vars=None):
        made = super().create_job(
            specs=specs, command=command, image=image, name=name, env_vars=env_vars
        )
        made.results_dir = str(self.root / made.id)
        epoch = specs["train"]["num_epochs"] - 1 + self.first
        (self.root / made.id).mkdir(parents=True)
        (self.root / made.id / f"model_epoch_{epoch:03d}.pth").touch()
        if self.metrics is not None:
            (self.root / made.id / "metrics.json").write_text(json.dumps(self.metrics))
        return made


def ok(value):
    return lambda number, poll: ("Done", f"val accuracy: {value(number)}")


# Local processes -----------------------------------------------------------------------------------


def test_jobs_of_local_processes_give_the_values_of_their_logs(search, foreign, tmp_path):
    jobs = LocalJobs(tmp_path / "root", foreign)
    result = search(jobs, settings={"automl_max_concurrent": 2})
    assert [e["status"] for e in result["history"]] == ["success"] * 3
    assert all(0 < e["metric"] < 1 for e in result["history"])
    best = result["best"]
    folder = jobs.get_job(best["job_id"]).results_dir
    assert Path(best["checkpoint"]) == folder / "train/model_epoch_004.pth"
    assert json.loads((Path(result["workspace_path"]) / "active_jobs.json").read_text()) == []
    assert result["final_evaluation"]["status"] == "unavailable"
    assert "final_eval_fn" in result["final_evaluation"]["reason"]


def test_43_a_rungs_job_goes_on_from_its_own_epochs_checkpoint(search, foreign, tmp_path):
    jobs = LocalJobs(tmp_path / "root", foreign)
    result = search(
        jobs,
        settings={
            "algorithm": "hyperband", "automl_max_epochs": 4, "automl_reduction_factor": 2,
            "automl_max_recommendations": None, "automl_max_concurrent": 2,
        },
    )  # fmt: skip
    later = [e for e in result["history"] if "resumed_from" in e]
    assert later
    for entry in later:
        parent, epoch = entry["resumed_from"]["rec_id"], entry["resumed_from"]["epoch"]
        job = jobs.get_job(entry["job_id"])
        before = jobs.get_job(result["history"][parent]["job_id"])
        source = job.spec()["train"]["resume_training_checkpoint_path"]
        assert source == str(before.results_dir / f"train/model_epoch_{epoch:03d}.pth")
        assert job.spec()["train"]["num_epochs"] == entry["epochs"]
    assert result["best"]["epochs"] == 4


def test_43_without_that_checkpoint_a_rung_is_blocked_not_restarted(search, tmp_path):
    sdk = Scripted(ok(lambda n: 0.5 + n / 100), results=str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    result = search(
        sdk,
        settings={
            "algorithm": "hyperband", "automl_max_epochs": 2, "automl_reduction_factor": 2,
            "automl_max_recommendations": None,
        },
    )  # fmt: skip
    blocked = [e for e in result["history"] if "resumed_from" in e]
    assert blocked
    assert all(e["status"] == "failure" for e in blocked)
    assert all("nothing to go on from" in e["failure_reason"] for e in blocked)


# Every way to fail ------------------------------------------------------------------------------


def test_a_failed_job_keeps_its_slot_and_says_why(search):
    def script(number, poll):
        return ("Error", "Traceback\nRuntimeError: x") if number == 1 else ok(lambda n: 0.5)(0, 0)

    result = search(Scripted(script))
    assert [e["status"] for e in result["history"]] == ["success", "failure", "success"]
    assert result["history"][1]["cause"] == "out_of_memory"
    assert "the card was full" in result["history"][1]["failure_reason"]
    assert result["history"][1]["metric"] is None


@pytest.mark.parametrize("where", ["in the log", "nowhere"])
def test_34_a_job_without_the_metric_is_a_failure_with_that_reason(search, where):
    log = "val accuracy: high" if where == "in the log" else ""
    result = search(Scripted(lambda number, poll: ("COMPLETED", log)))
    assert {e["status"] for e in result["history"]} == {"failure"}
    assert {e["failure_reason"] for e in result["history"]} == {"metric not found: 'val accuracy'"}
    assert "metric not found" in result["cause"]


def test_35_a_value_that_is_no_number_is_a_failure(search):
    result = search(Scripted(lambda n, poll: ("Done", f"val accuracy: {'nan' if n == 0 else 0.5}")))
    assert [e["status"] for e in result["history"]] == ["failure", "success", "success"]


def test_a_refused_submission_is_tried_again_then_fails_the_trial(search):
    sdk = Scripted(lambda number, poll: ConnectionError("the gateway is down"))
    result = search(sdk, settings={"automl_max_recommendations": 2})
    assert len(sdk.created) == 6, "each of two trials: once, and two retries"
    assert {e["cause"] for e in result["history"]} == {"infrastructure"}
    assert "the gateway is down" in result["history"][0]["failure_reason"]
    assert result["best"] is None


def test_a_platform_that_stutters_is_asked_again(search):
    def script(number, poll):
        return TimeoutError("busy") if poll in (1, 2, 3) else ("Done", "val accuracy: 0.5")

    hidden = f"/{'x' * 300}"  # cannot be looked at, as what lies below a folder that is closed
    result = search(Scripted(script, hidden), settings={"automl_max_recommendations": 1})
    assert [e["metric"] for e in result["history"]] == [0.5]


def test_a_platform_that_never_answers_loses_the_job(search, monkeypatch):
    monkeypatch.setattr(platform, "MAX_POLL_ERRORS", 3)

    def script(number, poll):
        return OSError("no route to host") if poll else ("Running", "")

    result = search(Scripted(script), settings={"automl_max_recommendations": 1})
    (entry,) = result["history"]
    assert entry["cause"] == "infrastructure"
    assert "could not be read 3 times: no route to host" in entry["failure_reason"]


def test_no_log_and_no_analysis_are_survived(search):
    class Silent(Scripted):
        def get_job_logs(self, job_id):
            raise PermissionError("no logs for you")

        def get_failure_analysis(self, job_id):
            raise NotImplementedError

    result = search(Silent(lambda number, poll: ("failed", "")))
    assert {e["status"] for e in result["history"]} == {"failure"}
    assert "ended as failed" in result["history"][0]["failure_reason"]


def test_44_the_callers_evaluator_knows_what_the_log_does_not(search):
    result = search(Scripted(lambda n, poll: ("Done", "")), eval_fn=lambda rec, job: 0.25 + rec.id)
    assert [e["metric"] for e in result["history"]] == [0.25, 1.25, 2.25]


def test_44_the_extractor_is_asked_at_every_poll(search):
    seen = []

    def extract(logs, name):
        seen.append(logs)
        return {"": None, "half": 0.5, "all": 0.75}[logs]

    def script(number, poll):
        return ("Done", "all") if poll >= 3 else ("Running", ["", "", "half"][poll])

    result = search(
        Scripted(script), metric_extractor=extract, settings={"automl_max_recommendations": 1}
    )
    assert seen == ["", "half", "all"]
    assert result["best"]["metric_value"] == 0.75


# What is submitted, and resuming --------------------------------------------------------------------


def test_jobs_get_the_callers_arguments_and_a_nested_spec(search):
    sdk = Scripted(ok(lambda n: 0.5))
    search(sdk, gpu_count=8, partition="long", image="registry/net:1",
           settings={"automl_max_recommendations": 1})  # fmt: skip
    (job,) = sdk.created
    assert job.more["gpu_count"] == 8
    assert job.more["partition"] == "long"
    assert job.specs["train"]["num_epochs"] == 4
    assert "results_dir" not in job.specs
    assert "foreign_trainer.py train -e /tmp/hpo-run_" in job.command
    assert "num_epochs = 4" in job.command, "the spec is in the command, as TOML"


class Writing(Scripted):
    """Runs on this machine the part of each command that writes its spec."""

    def create_job(self, *, specs, command, image, name, **more):
        writes = command.rpartition("\n")[0]
        subprocess.run(["sh", "-c", writes], check=True)
        assert next(folder_of(name).iterdir()).read_text()
        return super().create_job(specs=specs, command=command, image=image, name=name, **more)


def folder_of(name):
    return Path(f"/tmp/hpo-{name}")  # noqa: S108 - as the command names it


def test_what_a_command_wrote_on_this_machine_goes_when_its_job_has_ended(search):
    sdk = Writing(lambda n, _: ("Failed", "Killed") if n == 1 else ("Complete", "kpi: 0.5"))
    search(sdk)
    assert len(sdk.created) >= 3
    assert [job.name for job in sdk.created if folder_of(job.name).exists()] == []


def test_a_job_trains_as_long_as_its_trial_says(search):
    sdk = Scripted(ok(lambda n: 0.5))
    result = search(
        sdk, automl_hyperparameters=["train.num_epochs"], settings={"automl_max_recommendations": 9}
    )
    lengths = [job.specs["train"]["num_epochs"] for job in sdk.created]
    assert lengths == [entry["specs"]["train.num_epochs"] for entry in result["history"]]
    assert len(set(lengths)) > 1
    assert {entry["status"] for entry in result["history"]} == {"success"}


@pytest.mark.parametrize("is_default", [True, False])
def test_a_length_that_rungs_set_is_not_searched(search, foreign, is_default):
    names = ["train.num_epochs", "train.lr"]
    file = foreign / "schemas" / "train.schema.json"
    schema = json.loads(file.read_text())
    file.write_text(json.dumps(schema | {"automl_default_parameters": names}))
    with pytest.raises(
        SpecError, match=r"train\.num_epochs cannot be searched by hyperband, which"
    ):
        search(
            Scripted(ok(lambda n: 0.5)), automl_hyperparameters=None if is_default else names,
            settings={"algorithm": "hyperband"},
        )  # fmt: skip


def test_41_jobs_under_way_are_polled_before_anything_is_proposed(search, tmp_path):
    def dies(number, poll):
        if number == 1 and poll == 2:
            raise PulledPlug
        return ("Running", "") if number == 1 else ("Done", "val accuracy: 0.5")

    sdk = Scripted(dies)
    with pytest.raises(PulledPlug):
        search(sdk)
    (folder,) = (tmp_path / "ws").iterdir()
    (active,) = query_status(folder)["active_jobs"]
    assert active == {"rec_id": 1, "job_id": "job-1"}
    order = []

    def goes_on(number, poll):
        order.append(number)
        return ("Done", f"val accuracy: {0.5 + number / 10}")

    sdk.script = goes_on
    result = search(sdk, workspace_path=folder, resume=True)
    assert order[0] == 1, "the job under way first"
    assert len(sdk.created) == 3, "nothing is submitted again"
    assert [e["metric"] for e in result["history"]] == [0.5, 0.6, 0.7]
    assert query_status(folder)["active_jobs"] == []


@pytest.mark.parametrize("moment", ["before", "within", "after"])
def test_40_a_driver_that_dies_around_a_submission_runs_no_trial_twice(
    search, foreign, tmp_path, moment
):
    class Dying(LocalJobs):
        def create_job(self, action="train", *, specs=None, job_id=""):
            if moment == "within":  # as a kill before the record is written leaves it
                (self.root / "results" / job_id).mkdir(parents=True)
            if moment != "after":
                raise PulledPlug
            super().create_job(action, specs=specs, job_id=job_id)
            raise PulledPlug

    with pytest.raises(PulledPlug):
        search(Dying(tmp_path / "root", foreign))
    (folder,) = (tmp_path / "ws").iterdir()
    jobs = LocalJobs(tmp_path / "root", foreign)
    result = search(jobs, workspace_path=folder, resume=True)
    assert [e["status"] for e in result["history"]] == ["success"] * 3
    starts = [p.read_text().count("\n") for p in (tmp_path / "root").rglob("started.txt")]
    assert starts == [1, 1, 1]
    assert not any("retry" in e["job_id"] for e in result["history"])


def test_40_a_job_that_was_made_and_never_began_is_tried_again(search, foreign, tmp_path):
    class Dying(LocalJobs):
        def start(self, job):
            replace(job, created=job.created - 100).save()
            raise PulledPlug

    with pytest.raises(PulledPlug):
        search(Dying(tmp_path / "root", foreign))
    (folder,) = (tmp_path / "ws").iterdir()
    result = search(LocalJobs(tmp_path / "root", foreign), workspace_path=folder, resume=True)
    assert [e["status"] for e in result["history"]] == ["success"] * 3
    assert [e["job_id"].partition("-rec-")[2] for e in result["history"]] == ["0-retry-1", "1", "2"]


@pytest.mark.parametrize("within", ["eval_fn", "on_result"])
def test_41_a_driver_that_dies_while_a_trial_is_closed_submits_nothing_again(
    search, tmp_path, within
):
    """Before, the job was forgotten first, and its training was paid for twice."""
    values = {"eval_fn": lambda rec, job: 0.25 + rec.id}
    dying = lambda rec, *_: (_ for _ in ()).throw(PulledPlug) if rec.id == 1 else 0.25  # noqa: E731
    sdk = Scripted(ok(lambda n: 0.5))
    with pytest.raises(PulledPlug):
        search(sdk, **(values | {within: dying}))
    (folder,) = (tmp_path / "ws").iterdir()
    assert query_status(folder)["active_jobs"] == [{"rec_id": 1, "job_id": "job-1"}]
    polls = dict(sdk.polls)
    result = search(sdk, workspace_path=folder, resume=True, **values)
    assert [job.name.rpartition("-")[2] for job in sdk.created] == ["0", "1", "2"]
    assert (sdk.polls["job-1"] > polls["job-1"]) == (within == "eval_fn")
    assert [e["status"] for e in result["history"]] == ["success"] * 3
    assert result["history"][2]["metric"] == 2.25
    assert query_status(folder)["active_jobs"] == []


@pytest.mark.parametrize("number", [3, 9])
def test_a_job_of_a_trial_that_there_is_none_of_is_canceled(search, number):
    """The ledger may be an older copy; the next trial then takes the number."""
    folder = Path(search(Scripted(ok(lambda n: 0.5)))["workspace_path"])
    stranger = {"rec_id": number, "job_id": "job-9", "until_epoch": 4}
    (folder / "active_jobs.json").write_text(json.dumps([stranger]))
    sdk, canceled = Scripted(ok(lambda n: 0.5)), []
    sdk.cancel_job = canceled.append
    search(sdk, workspace_path=folder, resume=True, settings={"automl_max_recommendations": 4})
    assert canceled == ["job-9"]
    assert len(sdk.created) == 1
    assert query_status(folder)["active_jobs"] == []


class Unique(Scripted):
    """A platform that gives a name once, as most do."""

    canceled = ()

    def create_job(self, *, specs, command, image, name):
        if name in {job.name for job in self.created}:
            raise ValueError(f"{name}: there is such a job")
        return super().create_job(specs=specs, command=command, image=image, name=name)

    def cancel_job(self, job_id):
        self.canceled = (*self.canceled, job_id)


def test_a_lost_job_is_canceled_and_tried_again_under_a_name_of_its_own(search, monkeypatch):
    """Before, every retry asked for the id that was taken, and failed by that."""
    monkeypatch.setattr(platform, "MAX_POLL_ERRORS", 3)

    def script(number, poll):
        return OSError("no route") if number in (0, 1) and poll else ("Done", "val accuracy: 0.5")

    sdk = Unique(script)
    result = search(sdk, settings={"automl_max_recommendations": 2})
    assert [e["status"] for e in result["history"]] == ["success"] * 2
    assert sdk.canceled == ("job-0", "job-1")
    folder = Path(result["workspace_path"]).name
    ends = [job.name.removeprefix(folder).partition("-rec-")[2] for job in sdk.created]
    assert ends == ["0", "0-retry-1", "0-retry-2", "1"]


class Cutter(logging.Handler):
    """Ends the driver at a log line that holds some words."""

    def __init__(self, words):
        super().__init__()
        self.words = words

    def emit(self, record):
        if self.words in record.getMessage():
            raise PulledPlug


def test_a_lost_job_was_not_the_trials_where_the_driver_died_just_then(
    search, tmp_path, monkeypatch
):
    """It was given up and canceled; a resumed search takes no notice of its end."""
    monkeypatch.setattr(platform, "MAX_POLL_ERRORS", 2)
    sdk = Unique(lambda number, poll: OSError("no route") if poll else ("Running", ""))
    log, cutter = logging.getLogger("hpo.searching.engine"), Cutter("starting it again")
    log.addHandler(cutter)
    try:
        with pytest.raises(PulledPlug):
            search(sdk)
    finally:
        log.removeHandler(cutter)
    (folder,) = (tmp_path / "ws").iterdir()
    assert query_status(folder)["active_jobs"] == [{"rec_id": 0, "job_id": "job-0"}]
    sdk.script = lambda n, poll: ("Canceled", "") if n == 0 else ("Done", "val accuracy: 0.5")
    result = search(sdk, workspace_path=folder, resume=True)
    assert [e["status"] for e in result["history"]] == ["success"] * 3
    assert [job.name.partition("-rec-")[2] for job in sdk.created] == ["0", "0-retry-1", "1", "2"]


def test_searches_that_begin_in_the_same_second_have_jobs_of_different_names(search, tmp_path):
    """Their workspaces are then named alike, in two folders."""
    names = []
    for place in ("one", "two"):
        sdk = Scripted(ok(lambda n: 0.5))
        folder = search(sdk, workspace_path=tmp_path / place)["workspace_path"]
        names += [job.name.removeprefix(Path(folder).name) for job in sdk.created]
    assert len(set(names)) == len(names) == 6


def test_a_job_whose_answer_was_lost_is_found_and_not_made_again(search, foreign, tmp_path):
    class Cut(LocalJobs):
        def create_job(self, action="train", *, specs=None, job_id=""):
            super().create_job(action, specs=specs, job_id=job_id)
            raise ConnectionResetError("by peer")

    result = search(Cut(tmp_path / "root", foreign))
    assert [e["status"] for e in result["history"]] == ["success"] * 3
    starts = [p.read_text().count("\n") for p in (tmp_path / "root").rglob("started.txt")]
    assert starts == [1, 1, 1]
    assert all(Path(e["job_id"]).name == e["job_id"] for e in result["history"])


@pytest.mark.parametrize("word", ["Unknown", None, "Not Found", "Deleted", "Canceled"])
@pytest.mark.parametrize("takes_name", [True, False])
def test_40_a_platform_that_knows_no_such_job_is_given_the_trial_again(
    search, tmp_path, word, takes_name
):
    """Before, such a job was polled for ever, or the trial had been canceled."""

    class Words(Scripted):
        def get_job_status(self, job_id):
            if job_id in self.polls:
                return super().get_job_status(job_id)
            return SimpleNamespace(status=word)

    class Nameless(Words):
        def create_job(self, *, specs, command, image):
            return super().create_job(specs=specs, command=command, image=image, name="")

    sdk = (Words if takes_name else Nameless)(lambda *_: (_ for _ in ()).throw(PulledPlug))
    with pytest.raises(PulledPlug):
        search(sdk)
    (folder,) = (tmp_path / "ws").iterdir()
    assert query_status(folder)["active_jobs"] == [{"rec_id": 0, "job_id": ""}]
    sdk.script = ok(lambda n: 0.5)
    result = search(sdk, workspace_path=folder, resume=True)
    assert [e["job_id"] for e in result["history"]] == ["job-1", "job-2", "job-3"]
    assert [e["status"] for e in result["history"]] == ["success"] * 3


@pytest.mark.parametrize("answer", [None, "", {}, {"status": "ok"}, object(), True])
def test_a_submission_without_an_id_has_failed(search, answer):
    class Vague(Scripted):
        def create_job(self, *, specs, command, image, name):
            super().create_job(specs=specs, command=command, image=image, name=name)
            return answer

    sdk = Vague(ok(lambda n: 0.5))
    (entry,) = search(sdk, settings={"automl_max_recommendations": 1})["history"]
    assert entry["failure_reason"].startswith("job_creation_failed: no job id: ")
    assert len(sdk.created) == 3


@pytest.mark.parametrize("form", ["object", "other", "text", "mapping", "number", "uuid", "null"])
def test_an_id_comes_in_many_forms(form):
    ident = uuid.UUID(int=7)
    given = {
        "object": SimpleNamespace(id="a"), "text": "a", "mapping": {"id": "a"}, "number": 7,
        "uuid": ident, "other": SimpleNamespace(job_id="a"), "null": {"id": None, "job_id": "a"},
    }  # fmt: skip
    assert id_of(given[form]) == {"number": "7", "uuid": str(ident)}.get(form, "a")


# A platform that is away for a while ----------------------------------------------------------------


@pytest.fixture
def naps(monkeypatch):
    """How long each wait was to be; nothing is waited for."""
    taken = []
    monkeypatch.setattr(platform.time, "sleep", taken.append)
    return taken


def test_a_refused_submission_is_tried_again_after_a_pause(search, naps):
    """Before, nine submissions went out at once; a second later the gateway was up again."""
    away = lambda n, poll: OSError("503") if n in (1, 2) else ("Done", "val accuracy: 0.5")  # noqa: E731
    sdk = Scripted(away)
    result = search(sdk, poll_interval=7.0)
    assert [e["status"] for e in result["history"]] == ["success"] * 3
    ends = [job.name.partition("-rec-")[2] for job in sdk.created]
    assert ends == ["0", "1", "1-retry-1", "1-retry-2", "2"]
    assert naps.count(7.0) == 5, "one for each job that ran, and one for each that was refused"


def test_a_platform_that_stays_away_ends_the_search_whatever_ids_its_errors_hold(search, naps):
    """Before, each message was a cause of its own, and all trials were used up."""
    sdk = Scripted(lambda n, poll: OSError(f"503 of request {n}-{n:x}f, try later"))
    result = search(sdk, settings={"automl_max_recommendations": 20}, poll_interval=7.0)
    assert len(sdk.created) == 9, "three trials, three times each"
    assert naps.count(7.0) >= 8
    assert "job_creation_failed" in result["cause"]


class ByName(Scripted):
    """Its jobs are known by the names that they are asked to have.

    A look at a job fails while `outage` lasts; `lost` are submissions whose answers get lost.
    """

    outage, lost, canceled = 0, (), ()
    loss: BaseException = TimeoutError("no answer")

    def create_job(self, *, specs, command, image, name):
        number = len(self.created)
        super().create_job(specs=specs, command=command, image=image, name=name)
        self.polls[name] = self.polls.pop(f"job-{number}")
        if number in self.lost:
            raise self.loss
        return SimpleNamespace(id=name)

    def get_job_status(self, job_id):
        if self.outage:
            self.outage -= 1
            raise TimeoutError("no answer")
        return super().get_job_status(job_id)

    def _answer(self, job_id):
        return self.script([job.name for job in self.created].index(job_id), self.polls[job_id])

    def cancel_job(self, job_id):
        self.canceled = (*self.canceled, job_id)

    @property
    def ends(self):
        return [job.name.partition("-rec-")[2] for job in self.created]


def test_a_job_whose_answer_was_lost_in_an_outage_is_found_after_it(search):
    """Before, one look that failed too gave the trial to a second job beside the first."""
    sdk = ByName(ok(lambda n: 0.5))
    sdk.lost, sdk.outage = (0,), 3
    result = search(sdk)
    assert [e["status"] for e in result["history"]] == ["success"] * 3
    assert sdk.ends == ["0", "1", "2"]
    assert sdk.canceled == ()


def test_a_job_that_was_not_made_in_an_outage_is_made_after_it(search):
    sdk = ByName(
        lambda n, poll: TimeoutError("no answer") if n == 0 else ok(lambda n: 0.5)(n, poll)
    )
    sdk.outage = 2
    result = search(sdk)
    assert [e["status"] for e in result["history"]] == ["success"] * 3
    assert sdk.ends == ["0", "0-retry-1", "1", "2"]


def test_what_was_asked_for_is_canceled_before_its_trial_gets_another_job(search, monkeypatch):
    monkeypatch.setattr(platform, "MAX_POLL_ERRORS", 3)
    sdk = ByName(ok(lambda n: 0.5))
    sdk.lost, sdk.outage = (0,), 4
    search(sdk)
    assert sdk.ends == ["0", "0-retry-1", "1", "2"]
    assert sdk.canceled == (sdk.created[0].name,)


def test_a_submission_that_was_cut_off_is_looked_for_as_long_as_there_is_no_answer(
    search, tmp_path
):
    sdk = ByName(ok(lambda n: 0.5))
    sdk.lost, sdk.loss = (0,), PulledPlug()
    with pytest.raises(PulledPlug):
        search(sdk)
    (folder,) = (tmp_path / "ws").iterdir()
    sdk.outage = 2
    result = search(sdk, workspace_path=folder, resume=True)
    assert [e["status"] for e in result["history"]] == ["success"] * 3
    assert sdk.ends == ["0", "1", "2"]


@pytest.mark.parametrize(
    "answer", [None, {}, "", {"error": "no such job"}, SimpleNamespace(status=None)]
)
def test_an_answer_without_a_status_is_none(search, monkeypatch, answer):
    """Before, such a job was polled for ever."""
    monkeypatch.setattr(platform, "MAX_POLL_ERRORS", 3)

    class Forgetful(Scripted):
        def get_job_status(self, job_id):
            return super().get_job_status(job_id) if self.polls[job_id] < 2 else answer

    sdk = Forgetful(lambda n, poll: ("Running", ""))
    (entry,) = search(sdk, settings={"automl_max_recommendations": 1})["history"]
    assert "could not be read 3 times: no status in " in entry["failure_reason"]


@pytest.mark.parametrize(
    ("answer", "left", "status"),
    [
        (("Not Found", ""), "all", "success"),
        (("DELETED", ""), "all", "success"),
        (KeyError("no such job"), "all", "success"),
        (("Not Found", ""), "no checkpoint", "failure"),
        (("Not Found", ""), "no value", "failure"),
        (("Canceled", ""), "all", "failure"),
    ],
)
def test_a_job_that_the_platform_has_forgotten_is_known_by_what_it_left(
    search, tmp_path, monkeypatch, answer, left, status
):
    """Platforms remove finished jobs after a while; before, those trials had been canceled."""
    monkeypatch.setattr(platform, "MAX_POLL_ERRORS", 3)
    sdk = Folders(lambda n, poll: answer if poll else ("Running", ""), tmp_path / "root")
    sdk.metrics = None if left == "no value" else {"val accuracy": 0.5}
    sdk.first = -5 if left == "no checkpoint" else 0
    (entry,) = search(sdk, settings={"automl_max_recommendations": 1})["history"]
    assert (entry["status"], entry["metric"]) == (status, 0.5 if status == "success" else None)


# A job's own words ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_saved", [False, True])
def test_a_log_that_says_fail_beats_a_status_of_success(search, tmp_path, is_saved):
    """A container may exit with 0 all the same; what it has saved counts."""
    script = lambda n, poll: ("Complete", "val accuracy: 0.5\nExecution status: FAIL")  # noqa: E731
    sdk, canceled = Folders(script, tmp_path / "root"), []
    sdk.metrics = {"val accuracy": 0.25} if is_saved else None
    sdk.cancel_job = canceled.append
    (entry,) = search(sdk, settings={"automl_max_recommendations": 1})["history"]
    assert entry["status"] == ("success" if is_saved else "failure")
    assert entry["metric"] == (0.25 if is_saved else None)
    assert ("failed by its log" in (entry["failure_reason"] or "")) != is_saved
    assert canceled == [], "it is over"


RUNGS = {
    "algorithm": "hyperband", "automl_max_epochs": 2, "automl_reduction_factor": 2,
    "automl_max_recommendations": None,
}  # fmt: skip


@pytest.mark.parametrize("first", [0, 1])
def test_a_rungs_job_goes_on_from_its_epoch_however_names_count(search, tmp_path, first):
    """Before, every promotion failed where names count from 0, as those of published trainers."""
    sdk = Folders(ok(lambda n: 0.5 + n / 100), tmp_path / "root", first=first)
    result = search(sdk, settings=RUNGS)
    later = [e for e in result["history"] if "resumed_from" in e]
    assert later
    for entry in later:
        parent = result["history"][entry["resumed_from"]["rec_id"]]
        told = sdk.created[entry["rec_id"]].specs["train"]["resume_training_checkpoint_path"]
        assert Path(told) == sdk.root / parent["job_id"] / f"model_epoch_{first:03d}.pth"
    best = result["best"]
    assert Path(best["checkpoint"]).name == f"model_epoch_{best['epochs'] - 1 + first:03d}.pth"


def test_a_rungs_job_may_load_a_whole_checkpoint(search, tmp_path):
    sdk = Folders(ok(lambda n: 0.5 + n / 100), tmp_path / "root")
    result = search(sdk, settings=RUNGS, env_vars={"SEED": "3"})
    told = [job.more["env_vars"] for job in sdk.created]
    later = ["resumed_from" in e for e in result["history"]]
    assert any(later)
    assert not all(later)
    for is_later, variables in zip(later, told, strict=True):
        more = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"} if is_later else {}
        assert variables == {"SEED": "3"} | more


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_a_rungs_job_without_a_new_value_keeps_its_earlier_one(search, tmp_path, has_checkpoint):
    sdk = Folders(None, tmp_path / "root")

    def script(number, poll):
        job = sdk.created[number]
        if not job.specs["train"]["resume_training_checkpoint_path"]:
            return "Done", f"val accuracy: {0.5 + number / 100}"
        if not has_checkpoint:
            for file in (tmp_path / "root" / f"job-{number}").glob("*.pth"):
                file.unlink()
        return "Done", "nothing new"

    sdk.script = script
    result = search(sdk, settings=RUNGS)
    later = [e for e in result["history"] if "resumed_from" in e]
    assert later
    for entry in later:
        before = result["history"][entry["resumed_from"]["rec_id"]]["metric"]
        assert entry["metric"] == (before if has_checkpoint else None)
        assert entry["status"] == ("success" if has_checkpoint else "failure")


def test_the_folder_of_a_job_may_be_told_in_a_mapping(search, tmp_path):
    class Mappings(Folders):
        def create_job(self, *, specs, command, image, name):
            made = super().create_job(specs=specs, command=command, image=image, name=name)
            return vars(made)

    sdk = Mappings(lambda *_: ("Done", ""), tmp_path / "root", metrics={"val accuracy": 0.5})
    history = search(sdk)["history"]
    assert [entry["metric"] for entry in history] == [0.5] * 3


def test_a_platforms_workspace_is_not_resumed_without_it(search, foreign):
    given = {"train_dataset_uri": "data/x"}
    path = search(Scripted(ok(lambda n: 0.5)), **given)["workspace_path"]
    for again in ({}, given, {"base_checkpoint": "w.pth"}):
        with pytest.raises(RunError, match="jobs of Scripted; go on with AutoMLRunner"):
            AutoMLRunner(skill_dir=foreign).run(workspace_path=path, resume=True, **again)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (SimpleNamespace(status="Running"), "running"),
        (SimpleNamespace(status=SimpleNamespace(value="DONE")), "done"),
        ("JobStatus.FAILED", "failed"),
        ({"status": "Done"}, "done"),
        ({"state": SimpleNamespace(value="RUNNING")}, "running"),
        ({"status": None, "state": "done"}, "done"),
        (SimpleNamespace(status=None, state="Timed Out"), "timed_out"),
        (SimpleNamespace(status=None), ""),
        (SimpleNamespace(state="Done"), "done"),
        ("In-Progress", "in_progress"),
    ],
)
def test_a_status_may_be_text_an_enum_an_object_or_a_mapping(answer, word):
    assert status_of(answer) == word


@pytest.mark.parametrize(
    "word", ["In Progress", "in-progress", "Executing", "Pulling", "Timed out"]
)
def test_a_word_for_work_is_that_of_a_job(word):
    assert exists_by(SimpleNamespace(status=word))


def test_a_platform_is_given_what_it_names_and_all_that_the_caller_says():
    named = lambda specs, image=1, **more: (specs, image, more)  # noqa: E731
    assert call_with_known(named, {"specs": 2, "x": 3}, {"gpus": 4}) == (2, 1, {"gpus": 4})
    with pytest.raises(TypeError, match="gpus"):
        call_with_known(lambda specs: specs, {"specs": 2}, {"gpus": 4})
