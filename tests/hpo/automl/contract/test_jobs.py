"""Checks 36 to 41, 57 to 61 and 67 to 73: what jobs are given, how they end, and the files."""

import json
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.count_calls import count_calls
from tests.hpo.automl.contract.pretended import Builder, Cleaner, Sdk, make_skill


def test_36_the_callers_image_beats_the_actions_beats_the_skills(go, tmp_path):
    own = {"train": {"command": "net {config_path}", "container_image": "registry/action:1"}}
    skill = make_skill(tmp_path / "s", actions=("train",))
    file = skill / "references/skill_info.yaml"
    info = yaml.safe_load(file.read_text())
    seen = []
    for change, image in (({}, ""), ({"actions": own}, ""), ({"actions": own}, "mine:3")):
        file.write_text(yaml.safe_dump(info | change))
        sdk = Sdk()
        go(sdk, skill=skill, trials=1, image=image)
        seen.append(sdk.jobs[0].image)
    assert seen == ["registry/skill:1", "registry/action:1", "mine:3"]
    file.write_text(yaml.safe_dump(info | {"container_image": ""}))
    with pytest.raises(ValueError, match="image: must be given"):
        go(skill=skill)


def test_37_platform_arguments_reach_the_job(go):
    sdk = Sdk()
    go(sdk, trials=1, gpu_count=4, partition="long")
    assert (sdk.jobs[0].gpu_count, sdk.jobs[0].partition) == (4, "long")


def test_37_a_resumed_search_says_which_arguments_its_jobs_no_longer_get(go, caplog):
    """Before, they were submitted with one GPU, in silence, and ranked with the others."""
    given = {"gpu_count": 4, "partition": "long", "workspace_id": "mine"}
    path = go(trials=1, **given)["workspace_path"]
    more = {"workspace_path": path, "resume": True, "settings": {"automl_max_recommendations": 2}}
    go(**more, **given)
    assert "arguments" not in caplog.text
    sdk = Sdk()
    go(sdk, **(more | {"settings": {"automl_max_recommendations": 3}}), partition="short")
    assert "gpu_count is missing, partition is another" in caplog.text
    assert sdk.jobs[0].partition == "short", "as this start says"
    assert "long" not in Path(path, ".automl/controller/facts.json").read_text(), (
        "it may be a secret"
    )


def test_38_a_job_that_cannot_be_made(go):
    class Closed(Sdk):
        def create_job(self, image, command):
            self.order.append("create")
            raise PermissionError("no quota")

    sdk = Closed()
    result = go(sdk, trials=1)
    assert result["history"][0]["failure_reason"] == (
        "job_creation_failed: PermissionError: no quota"
    )
    assert len(sdk.order) == 3, "tried three times"
    assert result["best"] is None


class HTTPError(OSError):
    """As those of a well-known client are."""


POOL = "HTTPSConnectionPool(host='api.x', port=443)"
S3_SAYS = {"Error": {}, "ResponseMetadata": {"HTTPStatusCode": 400}}
REFUSED = "Caused by NewConnectionError('Failed to establish: [Errno 111] Connection refused')"


def client_error(kind, text="", base=OSError, **held):
    """As clients make them: `requests` of OSError, `aiohttp` and `botocore` of Exception."""
    return type(kind, (base,), held)(text)


def answered(status, text):
    return client_error("HTTPError", text, response=SimpleNamespace(status_code=status))


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        (TimeoutError("job x-rec-404"), True),
        (ConnectionResetError("by peer"), True),
        (HTTPError("503 Server Error: Service Unavailable for url: https://x"), True),
        (RuntimeError("(429) Reason: Too Many Requests"), True),
        (type("ReadTimeout", (Exception,), {})(), True),
        (HTTPError("404 Client Error: Not Found for url: https://x"), False),
        (HTTPError("401 Client Error: Unauthorized for url: https://x"), False),
        (PermissionError("no quota"), False),
        (FileNotFoundError("jobs/x"), False),
        (KeyError("x"), False),
        (RuntimeError("no such job"), False),
        (ConnectionError(f"{POOL}: Max retries exceeded with url: /jobs/404 ({REFUSED})"), True),
        (RuntimeError(f"{POOL}: Read timed out. (read timeout=450)"), True),
        (RuntimeError("Cannot connect to host api.x:443 ssl:default [Name not known]"), True),
        (OSError("no answer after 450 s of job 412"), True),
        (client_error("ConnectionError", f"{POOL}: Read timed out.", response=None), True),
        (client_error("ReadTimeout", "job 404 was not found in time"), True),
        (answered(503, "no such host"), True),
        (answered(429, ""), True),
        (answered(404, "connect again"), False),
        (client_error("ClientResponseError", "connection", Exception, status=403), False),
        (client_error("ClientResponseError", "x", Exception, status=502), True),
        (client_error("ServerDisconnectedError", "", Exception), True),
        (urllib.error.HTTPError("https://x:443", 401, "timeout", None, None), False),
        (urllib.error.URLError(OSError(111, "Connection refused")), True),
        (client_error("ClientError", "connect", Exception, response=S3_SAYS), False),
        (RuntimeError("An error occurred (404) when calling HeadJob: it cannot connect"), False),
        (RuntimeError("Error code: 403 - {'timeout': 5}"), False),
        (RuntimeError("server returned 502"), True),
        (RuntimeError("batch 500 of job 503"), False),
    ],
)
def test_38_an_outage_is_told_from_an_answer(error, is_away):
    from hpo.automl.sdk import is_outage

    assert is_outage(error) == is_away


@pytest.mark.parametrize("refusal", ["401 Client Error: Unauthorized", "503 Server Error"])
def test_38_what_was_refused_is_not_looked_for(go, refusal, monkeypatch):
    """A wrong token answers to each call alike; before the first of these, nothing is made."""
    monkeypatch.setattr("hpo.automl.platform.MAX_POLL_ERRORS", 4)

    class Named(Sdk):
        looks = 0

        def create_job(self, image, command, name):
            raise HTTPError(refusal)

        def get_job_status(self, job_id):
            self.looks += 1
            raise HTTPError(refusal)

    sdk = Named()
    entry = go(sdk, trials=1)["history"][0]
    is_away = refusal.startswith("503")
    assert sdk.looks == 3 * (1 + (4 if is_away else 0))
    assert entry["failure_reason"].startswith("job_creation_failed") != is_away


@pytest.mark.parametrize("status", ["Canceled", "cancelled", "STOPPED", "Terminated", "Deleted"])
def test_39_a_canceled_job(go, status):
    entry = go(Sdk(lambda n: (status, "accuracy: 0.9")), trials=1)["history"][0]
    assert entry["failure_reason"].startswith("job_canceled")
    assert (entry["status"], entry["metric"]) == ("failure", None)


def test_40_three_missing_metrics_end_the_search(go):
    sdk = Sdk(lambda n: ("Complete", "nothing to see"))
    result = go(sdk, trials=20)
    assert len(sdk.jobs) == 3
    assert "metric not found: 'accuracy'" in result["cause"]


@pytest.mark.parametrize("status", ["complete", "Completed", "SUCCESS", "succeeded", "done"])
def test_40_words_of_success(go, status):
    assert go(Sdk(lambda n: (status, "accuracy: 0.5")), trials=1)["best"] is not None


def test_40_a_log_that_says_fail_fails_a_job_that_is_over(go):
    sdk = Sdk(
        lambda n: ("Complete", f"accuracy: 0.5\nExecution status: {['FAIL', 'PASS', 'PASS'][n]}")
    )
    assert [e["metric"] for e in go(sdk)["history"]] == [None, 0.5, 0.5]
    assert sdk.canceled == []


def test_40_a_log_that_says_fail_ends_the_job(go):
    sdk = Sdk(lambda n: ("Unknown", "Execution status: FAIL"))
    result = go(sdk, trials=1)
    assert sdk.canceled == ["job-0"]
    assert result["history"][0]["status"] == "failure"


def test_41_the_record_of_a_capped_batch(go, tmp_path):
    skill = make_skill(tmp_path / "s", spec_shorthand_keys={"batch_size": "train.size"})
    sdk = Sdk()
    entry = go(sdk, skill=skill, trials=1, spec_overrides={"train.size": 32},
               settings={"dataset_size": 20})["history"][0]  # fmt: skip
    (record,) = [a for a in entry["adjustments"] if a.get("type")]
    assert {"type": "effective_batch_cap", "key": "train.size", "from": 32, "to": 20,
            "sample_count": 20, "dp_shard_size": 1}.items() <= record.items()  # fmt: skip
    assert "size: 20" in sdk.jobs[0].command
    kept = go(sdk, skill=skill, trials=1, spec_overrides={"train.size": 32}, dataset_size=20,
              settings={"allow_unsafe_effective_batch": True})  # fmt: skip
    assert kept["history"][0]["adjustments"] == []


def test_57_58_status_from_files(go, tmp_path):
    from tao_automl import query_status

    result = go(settings={"experiment_id": "exp-4"})
    status = query_status(result["workspace_path"])
    assert status["experiment_id"] == "exp-4"
    assert status["progress"] == {
        "completed": 3, "succeeded": 3, "failed": 0, "pending": 0, "total": 3,
        "best_metric": 0.52, "best_rec_id": 2, "algorithm": "random",
    }  # fmt: skip
    assert status["best"] == {
        "rec_id": 2, "specs": result["best"]["specs"], "status": "success", "metric_value": 0.52,
        "objective_score": 0.52, "objective_values": {"accuracy": 0.52},
    }  # fmt: skip
    row = status["recommendations"][1]
    assert (row["job_id"], row["status"], row["metric_value"]) == ("job-1", "success", 0.51)
    assert row["created_on"] <= row["last_modified"]
    assert (status["active_jobs"], "error" in status) == ([], False)
    assert "no such workspace" in query_status(tmp_path / "none")["error"]


def test_59_60_files_are_named_by_the_session(go):
    result = go(settings={"session_id": "abc", "experiment_id": "exp"},
                custom_param_ranges={"train.lr": {"valid_max": 0.05}})  # fmt: skip
    folder = Path(result["workspace_path"])
    read = lambda name: json.loads((folder / ".automl" / name).read_text())  # noqa: E731
    rows = read("controller/abc.json")
    assert [(r["id"], r["job_id"], r["metric"]) for r in rows][2] == (2, "job-2", "accuracy")
    assert read("best_rec/abc.json")["rec_number"] == 2
    assert read("brain/abc.json")["algorithm"] == "random"
    assert read("current_rec/abc.json") == {"rec_id": 2}
    assert read("custom_ranges/exp.json") == {"train.lr": {"valid_max": 0.05}}
    assert json.loads((folder / "active_jobs.json").read_text()) == []
    assert json.loads((folder / "artifact_jobs.json").read_text()) == {
        f"job-{n}": "success" for n in range(3)
    }


def test_60_active_jobs_that_cannot_be_read_stop_a_resume(go):
    from hpo.core.errors import RunError

    folder = Path(go(trials=1)["workspace_path"])
    (folder / "active_jobs.json").write_text("{")
    sdk = Sdk()
    with pytest.raises(RunError, match="list of jobs under way"):
        go(sdk, workspace_path=folder, resume=True, settings={"automl_max_recommendations": 4})
    assert sdk.jobs == []


@pytest.mark.parametrize("text", ["{", "[]", '{"0": ["job-0", ""], "1": null}'])
def test_60_jobs_that_cannot_be_told_apart_stop_a_resume(go, text):
    from hpo.core.errors import RunError

    folder = Path(go(trials=2)["workspace_path"])
    (folder / ".automl/controller/jobs.json").write_text(text)
    sdk = Sdk()
    with pytest.raises(RunError, match="must say which job each trial was, and cannot be read"):
        go(sdk, workspace_path=folder, resume=True, settings={"automl_max_recommendations": 4})
    assert sdk.jobs == []


def test_60_where_it_is_lost_which_job_the_best_was_nothing_is_deleted(go):
    sdk = Cleaner(lambda number: ("Complete", f"accuracy: {0.9 - number / 100}"))
    folder = Path(go(sdk)["workspace_path"])
    assert sdk.deleted == ["job-1", "job-2"]
    (folder / ".automl/controller/jobs.json").unlink()
    go(sdk, workspace_path=folder, resume=True, settings={"automl_max_recommendations": 5})
    assert len(sdk.jobs) == 5
    assert sdk.deleted == ["job-1", "job-2"]


def test_a_finished_search_is_told_again_by_one_look_at_its_jobs(go, tmp_path):
    def looks(trials):
        folder = go(trials=trials, workspace_path=tmp_path / f"{trials}")["workspace_path"]
        return count_calls(go, workspace_path=folder, resume=True, of="platform_jobs")

    assert looks(3) == looks(9) > 0


def test_61_resume_extends_and_repeats_nothing(go):
    folder = go()["workspace_path"]
    sdk = Sdk(lambda n: ("Complete", f"accuracy: {0.8 + n / 100}"))
    result = go(sdk, workspace_path=folder, resume=True,
                settings={"automl_max_recommendations": 5})  # fmt: skip
    assert len(sdk.jobs) == 2
    assert [e["metric"] for e in result["history"]] == [0.5, 0.51, 0.52, 0.8, 0.81]


def test_67_scale_and_sign_are_kept(go):
    sdk = Sdk(lambda n: ("Complete", f"val_loss = -{1000 + n}.5"))
    result = go(sdk, settings={"metric": "val_loss"})
    assert [e["metric"] for e in result["history"]] == [-1000.5, -1001.5, -1002.5]
    assert result["best"]["rec_id"] == 2


def test_68_misspelt_and_nested_overrides(go):
    with pytest.raises(ValueError, match=r"train.sizes.*did you mean 'train.size'"):
        go(spec_overrides={"train.sizes": 4})
    commands = []
    for given in ({"train.size": 4}, {"train": {"size": 4}}):
        sdk = Builder()
        go(sdk, trials=1, spec_overrides=given)
        commands.append(sdk.built[0].specs)
    assert commands[0] == commands[1]
    assert commands[0]["train"]["size"] == 4


def test_69_a_folder_in_the_spec_is_not_shared(go, tmp_path):
    skill = make_skill(tmp_path / "s", defaults={"save_dir": "/out", "results_dir": "/results"})
    file = skill / "references/skill_info.yaml"
    info = yaml.safe_load(file.read_text())
    info["actions"]["train"]["outputs"] = {"train.results_dir": {"type": "folder"}}
    file.write_text(yaml.safe_dump(info))
    sdk = Builder()
    go(sdk, skill=skill, trials=2)
    assert [b.specs["train"]["save_dir"] for b in sdk.built] == ["/out/rec_0", "/out/rec_1"]
    assert {b.specs["train"]["results_dir"] for b in sdk.built} == {"/results"}
    assert sdk.built[0].outputs == {"train.results_dir": {"type": "folder"}}


def test_69_a_retry_writes_beside_what_a_lost_job_has_left(go, tmp_path):
    """The lost job may run on, and its values are not the retry's."""
    skill = make_skill(tmp_path / "s", defaults={"save_dir": "/out"})

    class Flaky(Builder):
        def create_job(self, image, command):
            made = super().create_job(image, command)
            if len(self.jobs) == 2:
                raise ConnectionResetError("by peer")
            return made

    sdk = Flaky()
    assert [e["status"] for e in go(sdk, skill=skill)["history"]] == ["success"] * 3
    folders = [b.specs["train"]["save_dir"] for b in sdk.built]
    assert folders == ["/out/rec_0", "/out/rec_1", "/out/rec_1-retry-1", "/out/rec_2"]


def test_70_a_sources_path_may_depend_on_the_format(tmp_path):
    from hpo.jobs.data_sources import resolve_data_sources
    from hpo.study.skill import load_skill

    (tmp_path / "root/images.tar").mkdir(parents=True)
    by_format = {"coco": ["x.json", "images.tar"], "default": "other"}
    entry = {"source": "train_dataset", "path_from_format": by_format}
    folder = make_skill(tmp_path / "s", data_format="coco",
                        data_sources={"train": {"train.images": entry}})  # fmt: skip
    roots = {"train_dataset_uri": str(tmp_path / "root")}
    found = resolve_data_sources(load_skill(folder), "train", roots, {})
    assert found == {"train.images": str(tmp_path / "root/images.tar")}


def test_71_the_command_is_whole_and_holds_the_trials_values(go):
    sdk = Sdk()
    result = go(sdk)
    for entry, job in zip(result["history"], sdk.jobs, strict=True):
        assert "{" not in job.command.splitlines()[-1]
        assert job.command.splitlines()[-1].startswith("net train -e /tmp/hpo-")
        text = job.command.partition("\n")[2].rpartition("\nHPO_SPEC_END")[0]
        spec = yaml.safe_load(text)
        assert spec["train"]["lr"] == entry["specs"]["train.lr"]
        assert spec["train"]["num_epochs"] == 2


def test_71_the_platforms_own_builder_is_used(go):
    sdk = Builder()
    go(sdk, trials=1)
    (built,) = sdk.built
    assert (built.command, built.config_format) == ("net train -e {config_path}", "yaml")
    assert sdk.jobs[0].command == f"entrypoint {json.dumps(built.specs)}"


def test_72_a_keyword_that_the_platform_lacks_is_refused(go):
    sdk = Sdk()
    with pytest.raises(ValueError, match="priority: no such argument, of this call or of Sdk"):
        go(sdk, priority=3)
    assert sdk.jobs == []


def test_74_a_promoted_trial_names_the_job_that_it_goes_on_from(folder, tmp_path):
    from tao_automl import AutoML

    settings = {"algorithm": "hyperband", "metric": "accuracy", "automl_max_epochs": 2,
                "automl_reduction_factor": 2}  # fmt: skip
    place = tmp_path / "ws"
    promoted = None
    while promoted is None:  # the ids that were assigned outlive the object that assigned them
        automl = AutoML(place, str(folder), {}, settings)
        for rec in automl.next_recommendation():
            rec.assign_job_id(f"mine-{rec.id}")
            if rec.resume_from_job_id:
                promoted = rec
            automl.report_result(rec.id, 0.5 + rec.id / 10)
        assert {rec.job_id for rec in automl.get_history()} == {
            f"mine-{rec.id}" for rec in automl.get_history()
        }
        automl.finish()
    assert (promoted.resume_from_epoch, promoted.early_stop_epoch) == (1, 2)
    source = int(promoted.resume_from_job_id.removeprefix("mine-"))
    assert automl.get_history()[source].specs["train.lr"] == promoted.specs["train.lr"]


def test_73_the_workspace_id_stays_here(go):
    sdk = Sdk()
    go(sdk, trials=1, workspace_id="ws-4")
    assert sdk.jobs[0].workspace_id == "unset"


def test_a_folder_of_results_may_be_a_file_address(go, tmp_path):
    (tmp_path / "my results").mkdir()
    (tmp_path / "my results/metrics.json").write_text('{"accuracy": 0.9}')
    sdk = Sdk(lambda number: ("Complete", ""))
    sdk.folders = {0: (tmp_path / "my results").as_uri()}
    assert go(sdk, trials=1)["best"]["metric_value"] == 0.9
