"""`AutoML`: ask, train yourself, report."""

import json
import os
import shutil
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

from hpo import AutoML, AutoMLRunner, query_status
from hpo.cli.main import main
from hpo.core.errors import HpoError, RunError
from hpo.run.run_dir import RunDir
from hpo.study.plan import read_plan
from tests.hpo.automl.foreign import make_foreign_skill
from tests.quick_trainer import NAME, peak

SETTINGS = {"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 5}


def value_of(specs):
    return peak({name.split(".")[1]: value for name, value in specs.items()})


@pytest.fixture
def make(skill, tmp_path):
    def go(settings=None, workspace="ws", **more):
        return AutoML(
            workspace=tmp_path / workspace, network=str(skill), trainer=NAME,
            settings=SETTINGS | (settings or {}), **more,
        )  # fmt: skip

    return go


def test_the_published_loop_finds_the_best(make, tmp_path):
    automl = make(wandb_config={"enabled": False, "project": "p"})
    seen = {}
    while not automl.is_complete():
        for rec in automl.next_recommendation():
            assert rec.status == "started"
            seen[rec.id] = value_of(rec.specs)
            automl.report_result(rec.id, seen[rec.id])
    automl.finish()
    automl.finish()
    assert list(seen) == [0, 1, 2, 3, 4]
    best = automl.get_best()
    assert (best.id, best.result) == (max(seen, key=seen.get), max(seen.values()))
    assert automl.wandb_group == "automl_ws"
    status = query_status(tmp_path / "ws")
    assert status["status"] == "finished"
    assert status["progress"] == {
        "completed": 5, "total": 5, "succeeded": 5, "failed": 0, "pending": 0,
        "best_metric": best.result, "best_rec_id": best.id, "algorithm": "random",
    }  # fmt: skip
    assert status["best"]["rec_id"] == best.id


def test_a_workspace_that_is_moved_meanwhile_takes_nothing_more(make, tmp_path):
    automl = make()
    (first,) = automl.next_recommendation()
    (tmp_path / "ws").rename(tmp_path / "there")
    with pytest.raises(
        RunError, match="ws: was moved or removed .* with the new place the program"
    ):
        automl.report_result(first.id, 0.5)
    automl.finish()
    assert not (tmp_path / "ws").exists()
    with make(workspace="there") as automl:
        (again,) = automl.next_recommendation()
        assert (again.id, again.specs) == (first.id, first.specs)


def test_a_loss_is_minimized(make):
    with make({"metric": "loss", "automl_max_recommendations": 4}) as automl:
        losses = {}
        while not automl.is_complete():
            for rec in automl.next_recommendation():
                losses[rec.id] = 5.0 - value_of(rec.specs)
                automl.report_result(rec.id, losses[rec.id])
        assert automl.get_best().result == min(losses.values())


def test_views_that_take_long_come_later_and_are_whole_for_who_asks(make, tmp_path, monkeypatch):
    monkeypatch.setattr("hpo.core.pacing.PROMPT_S", 0.0)
    monkeypatch.setattr("hpo.core.pacing.SHARE", 1e9)
    with make() as automl:
        views = (tmp_path / "ws" / ".automl" / "controller").glob("*.json")
        (file,) = (view for view in views if view.name != "facts.json")
        for value in (0.5, 0.25):
            (rec,) = automl.next_recommendation()
            automl.report_result(rec.id, value)
        assert json.loads(file.read_text()) == []  # as it was at the start
        told = automl.get_status()["recommendations"]
        assert [row["metric_value"] for row in told] == [0.5, 0.25]
        assert len(json.loads(file.read_text())) == 2
        automl.next_recommendation()
    assert len(json.loads(file.read_text())) == 3


def test_a_state_that_takes_long_is_written_later_and_is_whole_for_who_asks(
    make, tmp_path, monkeypatch
):
    monkeypatch.setattr("hpo.core.pacing.PROMPT_S", 0.0)
    monkeypatch.setattr("hpo.core.pacing.SHARE", 1e9)
    run = RunDir(tmp_path / "ws")
    with make() as automl:
        for value in (0.5, 0.25):
            (rec,) = automl.next_recommendation()
            automl.report_result(rec.id, value)
        assert run.read_state()["trials"] == []  # as it was at the start
        automl.get_status()
        assert [row["value"] for row in run.read_state()["trials"]] == [0.5, 0.25]
        automl.next_recommendation()
    assert (run.read_state()["status"], len(run.read_state()["trials"])) == ("interrupted", 3)


def test_several_at_a_time_and_a_failure(make):
    with make({"automl_max_concurrent": 2}) as automl:
        first = automl.next_recommendation()
        assert [rec.id for rec in first] == [0, 1]
        assert automl.next_recommendation() == []
        automl.report_result(0, 0.5)
        automl.report_result(1, None)
        third, fourth = automl.next_recommendation()
        automl.report_result(third.id, 0.25, status="failure")
        automl.report_result(fourth.id, float("nan"))
        states = {rec.id: (rec.status, rec.metric_value) for rec in automl.get_history()}
        assert states == {
            0: ("success", 0.5), 1: ("failure", None), 2: ("failure", None), 3: ("failure", None),
        }  # fmt: skip
        assert automl.get_best().id == 0
        assert automl.get_status()["progress"]["failed"] == 3


def test_an_id_that_awaits_nothing_is_refused(make):
    with make() as automl:
        automl.next_recommendation()
        automl.report_result(0, 0.5)
        with pytest.raises(ValueError, match="is not waiting for a result; these are: none"):
            automl.report_result(0, 0.5)
    with pytest.raises(RunError, match="finish"):
        automl.next_recommendation()


def test_a_workspace_is_gone_on_with_and_asks_what_it_would_have_asked(make, tmp_path):
    def drain(automl, limit=99):
        found = []
        while not automl.is_complete() and len(found) < limit:
            for rec in automl.next_recommendation():
                found.append((rec.id, rec.specs))
                automl.report_result(rec.id, value_of(rec.specs))
        return found

    with make(workspace="straight") as automl:
        straight = drain(automl)
    with make() as automl:
        part = drain(automl, 2)
        (open_rec,) = automl.next_recommendation()  # never reported
    with make() as automl:
        rest = drain(automl)
    assert rest[0] == (open_rec.id, open_rec.specs), "the one that was cut off comes again"
    assert part + rest == straight
    shutil.copytree(tmp_path / "straight", tmp_path / "copy")
    with make(workspace="copy"):
        own, its = (read_plan(tmp_path / name).study_uuid for name in ("straight", "copy"))
    assert own != its, "a copy has MLflow runs of its own"


def test_48_another_process_reads_the_status_and_a_second_writer_is_refused(make, tmp_path):
    automl = make()
    automl.next_recommendation()
    code = (
        "import sys; from hpo import query_status; print(query_status(sys.argv[1])['active_jobs'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "ws")], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}, check=True,
    )  # fmt: skip
    assert "'rec_id': 0" in found.stdout
    with pytest.raises(RunError, match=r"an AutoML\(\.\.\.\) of this program .* its finish\(\)"):
        make()
    automl.finish()
    make().finish()


def test_a_search_that_was_dropped_lets_go_of_its_workspace(make):
    automl = make()
    (first,) = automl.next_recommendation()
    del automl
    with make() as again:
        assert [rec.id for rec in again.next_recommendation()] == [first.id]


def test_rungs_ask_for_a_length_and_where_to_go_on_from(tmp_path):
    folder = make_foreign_skill(tmp_path / "skill")
    settings = {
        "algorithm": "hyperband", "metric": "kpi", "automl_max_epochs": 4,
        "automl_reduction_factor": 2, "automl_max_concurrent": 3,
    }  # fmt: skip
    lengths = {}
    with AutoML(workspace=tmp_path / "ws", network=str(folder), settings=settings) as automl:
        while not automl.is_complete():
            for rec in automl.next_recommendation():
                lengths[rec.id] = (rec.resume_from_epoch, rec.specs["train.num_epochs"])
                automl.report_result(rec.id, rec.specs["train.lr"] * rec.specs["train.num_epochs"])
        assert automl.get_best().specs["train.num_epochs"] == 4
    later = {pair for pair in lengths.values() if pair[0] is not None}
    assert later <= {(1, 2), (2, 4)}
    assert later


def test_a_registered_network_needs_no_folder_and_no_data(tmp_path):
    pytest.importorskip("trainer")
    with AutoML(
        workspace=tmp_path / "ws", network="ml_recog", train_specs={"train": {"num_epochs": 3}},
        settings={"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 1},
    ) as automl:  # fmt: skip
        (rec,) = automl.next_recommendation()
        assert rec.specs["train.optim.trunk.base_lr"] == pytest.approx(3.5e-4)
        assert rec.full_spec["train"]["num_epochs"] == 3
        automl.report_result(rec.id, 0.5)


def test_a_workspace_that_stops_half_way_names_the_call_that_goes_on(make, tmp_path, capsys):
    with make() as automl:
        (rec,) = automl.next_recommendation()
        automl.report_result(rec.id, 0.5)
    assert main(["status", str(tmp_path / "ws")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "go on with: AutoML(...)"
    assert main(["report", str(tmp_path / "ws")]) == 0
    report = (tmp_path / "ws/report.md").read_text()
    assert "go on with `AutoML(...)`" in report
    assert report.split("## Next")[1].strip() == (
        f"- compare the trials in MLflow: `hpo ui {tmp_path / 'ws'}`"
    )


def test_a_workspace_lies_in_no_other_and_on_a_path_of_text(make, skill, tmp_path):
    make().finish()
    for place, told in (("ws/a/b", "must lie outside other runs"), ("x\udce9", "no UTF-8")):
        with pytest.raises(RunError, match=told) as caught:
            make(workspace=place)
        assert "--out" not in str(caught.value)
        assert not (tmp_path / place).exists()
    with pytest.raises(RunError, match=r"jobs of the caller; go on with AutoML\("):
        AutoMLRunner(skill_dir=str(skill)).run(workspace_path=tmp_path / "ws", resume=True)


@pytest.mark.parametrize("inside", ["", "ws"])
def test_a_bare_schema_is_written_beside_no_plain_run(tmp_path, inside):
    """Before, that run was taken for a damaged workspace from then on."""
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("study.yaml", "ledger.db"):
        (plain / name).touch()
    schema = {
        "type": "object",
        "properties": {"rate": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5,
                                "automl_enabled": True}},
    }  # fmt: skip
    with pytest.raises(RunError, match="must lie outside other runs|holds something else"):
        AutoML(plain / inside, "net", settings=SETTINGS | {"metric": "acc"}, search_schema=schema)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["ledger.db", "plain", "study.yaml"]


def test_what_jobs_the_trials_were_must_be_readable(make, tmp_path):
    """They say which checkpoints the caller may delete."""
    make().finish()
    (tmp_path / "ws/.automl/controller/jobs.json").write_text('{"0": ["job-0"')
    with pytest.raises(RunError, match="must say which job each trial was, and cannot be read"):
        make()


def test_a_folder_with_something_else_is_left_alone(make, tmp_path):
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws/mine.txt").write_text("precious")
    with pytest.raises(RunError, match="holds something else"):
        make()
    assert (tmp_path / "ws/mine.txt").read_text() == "precious"


def test_what_ends_after_its_caller_was_lost_is_taken_at_once(make):
    with make({"automl_max_concurrent": 3}) as automl:
        assert [rec.id for rec in automl.next_recommendation()] == [0, 1, 2]
        automl.report_result(1, 0.25)
    with make({"automl_max_concurrent": 3}) as automl:
        assert automl.get_status()["active_rec_ids"] == [0, 2]
        automl.report_result(2, 0.75)
        with pytest.raises(ValueError, match="these are: 0"):
            automl.report_result(2, 0.5)
        assert [rec.id for rec in automl.next_recommendation()] == [0, 3, 4]
        assert automl.next_recommendation() == []
        assert automl.get_best().result == 0.75


class WandbRun:
    def __init__(self, asked):
        self.asked, self.rows, self.sent = asked, [], 0

    def log(self, values):
        self.rows = values["automl_experiments"]
        self.sent += 1

    def finish(self):
        self.rows = [*self.rows, "finished"]


@pytest.fixture
def wandb(monkeypatch):
    """The service is stood in for by a module of its name; nothing is sent."""
    runs = []

    def init(**asked):
        if asked["project"] == "mistyped":
            raise ConnectionError("project not found")
        runs.append(WandbRun(asked))
        return runs[-1]

    module = types.SimpleNamespace(
        init=init, runs=runs, Table=lambda columns, data: data, Settings=lambda **given: given
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setenv("WANDB_API_KEY", "of-another-account")
    return module


def test_weights_and_biases_gets_the_ids_of_jobs_by_the_given_key(make, wandb):
    with make(wandb_config={"enabled": True, "api_key": "mine"}) as automl:
        recs = [*automl.next_recommendation(), *automl.next_recommendation()]
        recs[0].job_id = "job-7"
        automl.report_result(recs[0].id, 0.5)
        (run,) = wandb.runs
        assert run.asked["settings"] == {"api_key": "mine"}
        assert [row[:4] for row in run.rows] == [[0, "job-7", "complete", 0.5]]
    assert run.rows[-1] == "finished"
    assert os.environ["WANDB_API_KEY"] == "of-another-account"


def test_the_given_key_is_that_of_trials_where_the_environment_has_none(make, wandb, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    look = [sys.executable, "-c", "import os; print(os.environ.get('WANDB_API_KEY'))"]
    for project in ("p", "mistyped"):
        config = {"enabled": True, "api_key": "mine", "project": project}
        with make(wandb_config=config, workspace=project):
            assert subprocess.check_output(look, text=True) == "mine\n"
        assert "WANDB_API_KEY" not in os.environ


def test_a_workspace_that_cannot_be_opened_keeps_no_key_and_no_listener(make, wandb, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    with make() as automl:
        state = automl.run.state_file
    state.unlink()
    state.mkdir()
    with pytest.raises(HpoError, match=r"state\.json"):
        make(wandb_config={"enabled": True, "api_key": "mine"})
    assert "WANDB_API_KEY" not in os.environ
    assert wandb.runs[-1].rows[-1] == "finished"


def test_weights_and_biases_gets_a_long_table_rarely_and_all_of_it_at_the_end(
    make, wandb, monkeypatch
):
    monkeypatch.setattr("hpo.automl.wandb_table.ROW_S", 1e9)
    with make(wandb_config={"enabled": True}) as automl:
        for value in (0.5, 0.25, 0.75):
            (rec,) = automl.next_recommendation()
            automl.report_result(rec.id, value)
        (run,) = wandb.runs
        assert (run.sent, [row[3] for row in run.rows]) == (1, [0.5])
    assert [row[3] for row in run.rows[:-1]] == [0.5, 0.25, 0.75]
    assert run.sent == 2


def test_weights_and_biases_that_cannot_be_reached_ends_no_search(make, wandb, caplog):
    with make(wandb_config={"enabled": True, "project": "mistyped"}) as automl:
        assert automl.next_recommendation()
    assert "wandb_config: the run could not be started, nothing is sent: project not" in caplog.text


def test_of_two_that_make_a_workspace_at_once_one_has_it(make):
    """Which of its steps the other is in is left to chance."""
    both, seen = threading.Barrier(2), []

    def open_it():
        both.wait()
        try:
            seen.append(make())
        except HpoError as error:
            seen.append(str(error))

    threads = [threading.Thread(target=open_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (told,) = (line for line in seen if isinstance(line, str))
    assert "ws: " in told
    assert "\n" not in told
    next(automl for automl in seen if not isinstance(automl, str)).finish()
