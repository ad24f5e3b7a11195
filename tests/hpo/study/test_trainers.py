import subprocess
import sys
from types import SimpleNamespace

import pytest

from hpo.core.errors import SpecError
from hpo.core.trainer_extras import GalleryEditor, GalleryKeeper
from hpo.study.spec import load_given_study
from hpo.study.trainers import TRUSTED, demand, find_trainer, restart_keys
from tests import quick_trainer
from tests.quick_trainer import NAME, TRAINER, QuickTrainer


def test_a_module_and_attribute_need_no_installation():
    assert find_trainer(NAME) is TRAINER


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        SpecError, match=r"no trainer is registered as 'ml_recgo' \(registered: .*\)"
    ):
        find_trainer("ml_recgo")


@pytest.mark.parametrize(
    "name",
    ["no_such_module:TRAINER", "tests.quick_trainer:NOTHING", "tests.quick_trainer:", ":TRAINER",
     "no such:thing", "a:b:c"],
)  # fmt: skip
def test_a_trainer_that_cannot_be_imported_is_the_users_matter(name, monkeypatch):
    monkeypatch.setenv(TRUSTED, "tests, no_such_module")
    with pytest.raises(SpecError, match="trainer: .*cannot be imported") as caught:
        find_trainer(name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_trainer_that_breaks_while_it_is_imported_is_a_bug(tmp_path, monkeypatch):
    (tmp_path / "broken_trainer.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(TRUSTED, "broken_trainer")
    with pytest.raises(ZeroDivisionError):
        find_trainer("broken_trainer:TRAINER")


@pytest.mark.parametrize("name", ["leaving_trainer:TRAINER", "leaving"])
def test_a_trainer_that_exits_while_it_is_imported_is_told(tmp_path, monkeypatch, name):
    (tmp_path / "leaving_trainer.py").write_text("raise SystemExit(3)\n")
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[hpo.trainers]\nleaving = leaving_trainer:TRAINER\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(TRUSTED, "leaving_trainer")
    with pytest.raises(SpecError, match=r"cannot be imported: the trainer called sys.exit\(3\)"):
        find_trainer(name)


def test_the_real_trainer_is_found_without_torch():
    code = (
        "import sys; from hpo.study.trainers import find_trainer; t = find_trainer('ml_recog');"
        "print(t.name, t.direction, 'torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    if "no trainer is registered" in found.stderr:
        pytest.skip("the package is not installed, so its entry points are not known")
    assert found.stdout == "ml_recog maximize False\n", found.stderr


@pytest.mark.parametrize(
    "trusted", ["", "test", "tests.quick", "quick_trainer", "tests.quick_trainer.more"]
)
def test_a_module_that_the_environment_does_not_trust_is_not_imported(trusted, monkeypatch):
    monkeypatch.setenv(TRUSTED, trusted)
    with pytest.raises(
        SpecError, match="names code to run.*HPO_TRAINER_MODULES=tests.quick_trainer"
    ):
        find_trainer("tests.quick_trainer:TRAINER")


def test_code_in_a_name_does_not_run(tmp_path, monkeypatch):
    monkeypatch.delenv(TRUSTED, raising=False)
    with pytest.raises(SpecError, match="names code to run"):
        find_trainer(f"os:system@touch {tmp_path}/ran")
    assert not (tmp_path / "ran").exists()


def test_what_is_no_trainer_is_told(monkeypatch):
    monkeypatch.setenv(TRUSTED, "json")
    with pytest.raises(SpecError, match="'json:dumps' is not a trainer: it has no name"):
        find_trainer("json:dumps")


class Incomplete(QuickTrainer):
    """A trainer with one member that is another thing; None takes it away."""

    def __init__(self, **members):
        self.members = members

    def __getattribute__(self, name):
        members = object.__getattribute__(self, "__dict__").get("members", {})
        if name not in members:
            return object.__getattribute__(self, name)
        if members[name] is ...:
            raise AttributeError(name)
        return members[name]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (QuickTrainer, "it is the class QuickTrainer; name an object of it"),
        (Incomplete(name=...), "it has no name"),
        (Incomplete(name=None), "its name must be text, got nothing"),
        (Incomplete(skill_dir=...), "it has no skill_dir"),
        (Incomplete(skill_dir="/skill"), "its skill_dir must be a pathlib.Path, got '/skill'"),
        (Incomplete(skill_dir=None), "its skill_dir must be a pathlib.Path, got nothing"),
        (Incomplete(epochs_key=None), "its epochs_key must be text, got nothing"),
        (Incomplete(multiple_of=["a"]), "its multiple_of must be a mapping, got a list ['a']"),
        (Incomplete(probe=...), "it has no probe"),
        (Incomplete(limits={}), "its limits must be a method, got an empty mapping"),
    ],
)
def test_an_incomplete_trainer_is_told_by_its_member(monkeypatch, made, says):
    monkeypatch.setattr(quick_trainer, "MADE", made, raising=False)
    with pytest.raises(SpecError) as caught:
        find_trainer("tests.quick_trainer:MADE")
    assert str(caught.value) == f"trainer: 'tests.quick_trainer:MADE' is not a trainer: {says}"


def test_an_argument_is_for_what_can_be_called():
    with pytest.raises(SpecError, match="TRAINER takes no @ARGUMENT"):
        find_trainer(f"{NAME}@x")


def test_a_given_study_may_not_name_a_skill_folder_whose_command_would_run(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("schema_version: 1\ntrainer: hpo.automl.skill_trainer:SkillTrainer@evil\n")
    with pytest.raises(SpecError, match="study.yaml: trainer: must be the name of a registered"):
        load_given_study(file)


def test_an_extra_that_is_there_is_handed_out_and_one_that_is_not_is_refused_in_one_line():
    ours = find_trainer("ml_recog")
    assert demand(ours, GalleryKeeper) is ours
    with pytest.raises(SpecError, match="^trainer quick: has no list_gallery, which `hpo gallery`"):
        demand(TRAINER, GalleryEditor)


def test_a_changed_model_restarts_a_trial_where_the_trainer_names_no_keys():
    assert restart_keys(TRAINER) == ("train.width",)
    assert restart_keys(SimpleNamespace(name="mine")) == ("model",)


def test_a_trainer_says_which_values_are_better(monkeypatch):
    monkeypatch.setattr(TRAINER, "direction", "up")
    with pytest.raises(SpecError, match="direction must be maximize or minimize, got 'up'"):
        find_trainer(NAME)


def test_a_trainer_whose_members_are_found_late_is_refused_in_one_line():
    """From Python 3.12 on `isinstance` does not ask `__getattr__`."""

    class Late:
        name = "late"
        list_gallery = add_classes = None

        def __getattr__(self, name):
            return print

    class Strict(type(GalleryEditor)):
        def __instancecheck__(cls, instance):
            return False

    class Editor(GalleryEditor, metaclass=Strict):
        pass

    with pytest.raises(SpecError, match="^trainer late: has no list_gallery, which this needs"):
        demand(Late(), Editor)
