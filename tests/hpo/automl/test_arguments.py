"""Arguments of a wrong type are one `ValueError` each, and nothing is made of them."""

import json
import logging
import shutil

import pytest

from hpo import AutoML, AutoMLRunner
from hpo.automl.arguments import describe_others, digests_of, is_wandb_on
from hpo.core.errors import MachineError
from tests.hpo.automl.contract.pretended import Cleaner, Sdk, make_skill
from tests.quick_trainer import NAME

SETTINGS = {"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 2}
SPECS = [
    ([1], "must be a mapping of keys"),
    ("a", "must be a mapping of keys"),
    ({1: 2}, "its keys must be text, got 1"),
    ({"train.lr": object()}, r"\.train\.lr: must be text, a number"),
    ({"train": {"lr": {1, 2}}}, r"\.train\.lr: must be text, a number"),
    ({"train.lr": float("nan")}, r"\.train\.lr: must be finite, got nan"),
    ({"train": {"widths": [1, float("inf")]}}, r"\.train\.widths\[1\]: must be finite"),
]
COMMON = [
    ("automl_hyperparameters", [1], "must be None or a list of dotted names, got a list"),
    ("automl_hyperparameters", "train.lr", "must be None or a list of dotted names"),
    ("automl_hyperparameters", 3, "must be None or a list of dotted names"),
    ("automl_hyperparameters", [], "must be None or a list of dotted names"),
    ("custom_param_ranges", [{"parameter": "train.lr"}], "train.lr: must say valid_min"),
    ("custom_param_ranges", {"train.lr": {}}, "train.lr: must say valid_min"),
    ("wandb_config", 3, "must be a mapping of keys, got 3"),
    ("wandb_config", {"enabled": "perhaps"}, r"enabled: must be true or false, got 'perhaps'"),
]
ASKED = [
    *(("train_specs", value, says) for value, says in SPECS),
    *COMMON,
    ("settings", [1], "must be a mapping of keys, got a list"),
    ("settings", "x", "must be a mapping of keys, got 'x'"),
    ("network", None, "network: must be the path"),
    ("network", 3, "network: must be the path"),
    ("workspace", None, "workspace: must be the path"),
    ("workspace", "", "workspace: must be the path"),
    ("workspace", "a\0b", "workspace: must be the path"),
    ("search_schema", [1], "search_schema: must be the path"),
    ("search_schema", "a\0b", "search_schema: must be the path"),
    ("trainer", 3, "trainer: must be text, got 3"),
    ("action", ["train"], "action: must be text"),
]
RUN = [
    *(("spec_overrides", value, says) for value, says in SPECS),
    *COMMON,
    ("automl_settings", [1], "must be a mapping of keys"),
    ("automl_algorithm", 3, "automl_algorithm: must be text, got 3"),
    ("eval_overrides", {"data.query": {1}}, "eval_overrides.data.query: must be text"),
    (
        "eval_overrides",
        {"evaluate.topk": 3},
        r"evaluate\.topk: no data of the final evaluation; must be left out, as the skill names none",
    ),
    ("listeners", 3, "listeners: must be a list of functions, got 3"),
    ("listeners", [print, 3], "listeners: must be a list of functions, got a list"),
    ("workspace_path", 3, "workspace_path: must be the path"),
    ("base_checkpoint", 3, "base_checkpoint: must be text, got 3"),
    ("train_dataset_uri", 3, "train_dataset_uri: must be text, got 3"),
    ("eval_dataset_uri", ["/e"], "eval_dataset_uri: must be text, got a list"),
    ("poll_interval", 1e12, "poll_interval: must be a number of seconds above 0, at most a day"),
    ("image", 3, "image: "),
    ("max_hours", "2", "max_hours: must be a number of hours above 0, got '2'"),
    ("max_hours", float("nan"), "max_hours: must be a number of hours above 0, got nan"),
    ("max_hours", -1, "max_hours: must be a number of hours above 0, got -1"),
    ("max_hours", True, "max_hours: must be a number of hours above 0, got true"),
    ("accept_no_baseline", "no", "accept_no_baseline: must be true or false, got 'no'"),
    ("resume", "no", "resume: must be true or false, got 'no'"),
    ("resume", 1, "resume: must be true or false, got 1"),
    *(
        (
            name,
            value,
            f"{name}: must be a function or None, got {str(value).lower() if isinstance(value, bool) else repr(value)}",
        )
        for name, value in {
            "eval_fn": 3,
            "metric_extractor": "loss",
            "baseline_fn": 0.5,
            "final_eval_fn": True,
            "feedback_fn": "f",
            "on_recommendation": 1,
            "on_result": "x",
            "confirm": True,
            "should_stop": False,
        }.items()
    ),
]


def _shown(value):
    return value if isinstance(value, str) and value.isprintable() else repr(value)[:24]


@pytest.mark.parametrize(("name", "value", "says"), ASKED, ids=_shown)
def test_ask_and_tell_refuses(skill, tmp_path, name, value, says):
    given = {"workspace": tmp_path / "ws", "network": str(skill), "trainer": NAME} | {name: value}
    with pytest.raises(ValueError, match=says) as caught:
        AutoML(**{"settings": SETTINGS} | given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize(("name", "value", "says"), RUN, ids=_shown)
def test_the_runner_refuses(skill, data, tmp_path, name, value, says):
    given = {"workspace_path": tmp_path / "ws", "automl_settings": SETTINGS, "spec_overrides": data}
    given |= {name: value}
    with pytest.raises(ValueError, match=says) as caught:
        AutoMLRunner(skill_dir=skill, trainer=NAME).run(**given, in_process=True)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("ws/run_*"))


class NoLogs:
    def create_job(self, **facts):
        """Makes nothing."""

    def get_job_status(self, job_id):
        """Knows nothing."""


@pytest.mark.parametrize(
    "more",
    [
        {"skill_dir": 3},
        {"trainer": 3},
        {"poll_interval": float("inf")},
        {"poll_interval": 1e12},
        {"sdk": Sdk},
        {"sdk": object()},
        {"sdk": NoLogs()},
        {"platform_sdk": NoLogs()},
    ],
)
def test_the_runner_itself_refuses(skill, more):
    with pytest.raises(ValueError, match="must be|must have") as caught:
        AutoMLRunner(**{"skill_dir": skill} | more)
    assert "\n" not in str(caught.value)


class Without(Cleaner):
    """A platform whose class switches off what another one can."""

    create_python_job = delete_job_artifacts = validate_artifact_retention = None


def test_what_a_platform_has_as_none_it_does_not_have(tmp_path):
    sdk = Without()
    runner = AutoMLRunner(sdk, make_skill(tmp_path / "skill"), "train", 0.001)
    settings = SETTINGS | {"metric": "accuracy", "automl_max_recommendations": 2}
    result = runner.run(automl_settings=settings, workspace_path=tmp_path / "ws")
    assert [entry["status"] for entry in result["history"]] == ["success"] * 2


def test_weights_may_be_a_path_and_are_looked_at(skill, data, tmp_path):
    given = {"automl_settings": SETTINGS, "spec_overrides": data, "workspace_path": tmp_path / "ws"}
    runner = AutoMLRunner(skill_dir=skill, trainer=NAME)
    with pytest.raises(ValueError, match=r"base_checkpoint: .*/w.pth does not exist"):
        runner.run(**given, base_checkpoint=tmp_path / "w.pth", in_process=True)


@pytest.mark.parametrize(
    ("config", "is_on"),
    [(None, False), ({}, False), ({"enabled": "no"}, False), ({"enabled": None}, False),
     ({"enabled": "Yes"}, True), ({"enabled": True}, True)],
)  # fmt: skip
def test_words_say_whether_weights_and_biases_is_on(config, is_on):
    assert is_wandb_on(config) is is_on


def test_an_objective_named_twice_is_told(skill, tmp_path):
    settings = {"algorithm": "random", "objectives": ["a", "b", "a"]}
    with AutoML(tmp_path / "ws", str(skill), {}, settings, trainer=NAME) as automl:
        assert any("a: is named more than once" in line for line in automl.facts.warnings)


@pytest.fixture
def workspace(skill, tmp_path):
    def go():
        return AutoML(tmp_path / "ws", str(skill), {}, SETTINGS, trainer=NAME)

    with go() as automl:
        automl.report_result(automl.next_recommendation()[0].id, 0.5)
    return tmp_path / "ws", go


def _make_folder_of(file):
    assert file.is_file(), file
    file.unlink()
    (file / "in").mkdir(parents=True)


@pytest.mark.parametrize("name", ["state.json", "events.ndjson", ".lock"])
def test_a_folder_in_place_of_a_file_is_one_line(workspace, name):
    folder, go = workspace
    _make_folder_of(folder / name)
    with pytest.raises(MachineError, match=f"{name}: .*move the folder away") as caught:
        go()
    assert "\n" not in str(caught.value)
    shutil.rmtree(folder / name)
    with go() as automl:
        assert automl.get_best().metric_value == 0.5


@pytest.mark.parametrize(
    "view", ["controller", "best_rec", "brain", "specs", "current_rec", "custom_ranges"]
)
def test_a_view_that_cannot_be_written_is_told_and_the_others_are(workspace, view, caplog):
    folder, go = workspace
    (file,) = (f for f in (folder / ".automl" / view).iterdir() if f.name != "facts.json")
    _make_folder_of(file)
    with caplog.at_level(logging.WARNING), go() as automl:
        (rec,) = automl.next_recommendation()
        automl.report_result(rec.id, 0.75)
    told = [r.getMessage() for r in caplog.records if str(file) in r.getMessage()]
    assert len(told) == 1
    assert "is not written" in told[0]
    if view != "best_rec":
        (best,) = (folder / ".automl/best_rec").iterdir()
        assert json.loads(best.read_text())["rec_number"] == rec.id


def test_arguments_of_jobs_are_told_apart_whatever_they_are():
    begun = digests_of({"a": {1: 2, "x": 3}, "b": object(), "c": [1], "d": None})
    given = {"a": {1: 2, "x": 3}, "b": object(), "c": [2], "e": 0}
    assert describe_others(begun, given) == "d is missing, e is new, c is another"
    assert describe_others(None, given) == "", "an earlier release kept none"
