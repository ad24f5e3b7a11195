import errno
import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import DataError, MachineError, RunError, SpecError
from hpo.core.releases import own_version
from hpo.core.spec_dicts import nest
from hpo.run.run_dir import PLAN_FILE
from hpo.study.plan import (
    StudyPlan,
    as_user_errors,
    build_base_spec,
    build_space,
    held_out_sources,
    kept_folder,
    num_epochs_of,
    read_plan,
    resolve_sources,
    settle_space,
)
from hpo.study.sections import DataSources, SearchOptions
from hpo.study.trainers import find_trainer
from tests.quick_runs import quick_study
from tests.quick_trainer import TRAINER

PLAN = StudyPlan(
    study_uuid="u", sources={"train": "t"}, base_spec={"a": {"b": 1e-4}}, algorithm="tpe",
    pruner="none", reason="", space_digest="d", num_epochs=9, planned_trials=20,
)  # fmt: skip


def test_a_plan_reads_back_as_written(tmp_path):
    PLAN.write(tmp_path)
    assert read_plan(tmp_path) == PLAN


def test_a_disk_that_takes_no_more_leaves_the_plan_that_is_there(tmp_path):
    PLAN.write(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))  # files end here, as on a full disk
    try:
        with pytest.raises(OSError, match="too large"):
            replace(PLAN, reason="long" * 100).write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_plan(tmp_path) == PLAN
    assert list(tmp_path.iterdir()) == [tmp_path / PLAN_FILE]


@pytest.mark.parametrize("key", ["first", "learned", "num_epochs"])
def test_a_plan_with_a_value_of_another_kind_is_one_line(tmp_path, key):
    PLAN.write(tmp_path)
    data = json.loads((tmp_path / PLAN_FILE).read_text()) | {key: "many"}
    (tmp_path / PLAN_FILE).write_text(json.dumps(data))
    with pytest.raises(RunError, match=r"plan.json: must be the plan that a search wrote"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("99.10.0", "was written by hpo 99.10.0, and this is .*; install that release"),
        (own_version(), "damaged"), (None, "damaged"), (7, "damaged"), ("", "damaged"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("change", [{"unheard_of": 1}, {"num_epochs": "many"}])
def test_a_plan_of_a_newer_release_is_not_called_damaged(tmp_path, version, told, change):
    replace(PLAN, versions={"hpo": version}).write(tmp_path)
    data = json.loads((tmp_path / PLAN_FILE).read_text()) | change
    (tmp_path / PLAN_FILE).write_text(json.dumps(data))
    with pytest.raises(RunError, match=told):
        read_plan(tmp_path)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"study_uuid": "u"}', "null", "5"])
def test_a_damaged_plan_is_one_line(tmp_path, text):
    if text is not None:
        (tmp_path / PLAN_FILE).write_text(text)
    with pytest.raises(
        RunError, match=r"plan.json: (is missing; restore it|must be the plan that a search wrote)"
    ) as caught:
        read_plan(tmp_path)
    assert "\n" not in str(caught.value)


class Trouble(Exception):
    def __init__(self, kind):
        super().__init__("train.lr: too big")
        self.kind = kind


@pytest.mark.parametrize(
    ("kind", "becomes"),
    [
        ("spec", SpecError),
        ("data", DataError),
        ("image", DataError),
        ("credential", DataError),
        ("infrastructure", MachineError),
    ],
)
def test_trainers_errors_that_users_can_mend(kind, becomes):
    with pytest.raises(becomes, match=r"^here: train.lr: too big$"), as_user_errors("here"):
        raise Trouble(kind)


@pytest.mark.parametrize(
    "error", [Trouble("code"), Trouble(5), ValueError("x"), KeyboardInterrupt()]
)
def test_all_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, as_user_errors("here"):
        raise error
    assert caught.value is error


def test_our_own_errors_get_no_second_place():
    with pytest.raises(DataError, match=r"^gone$"), as_user_errors("here"):
        raise DataError("gone")


def test_made_pictures_are_kept_where_the_trainer_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "mine"))
    assert kept_folder(find_trainer("ml_recog")) == tmp_path / "mine"
    assert kept_folder(TRAINER) == tmp_path / "mine" / "other-trainers"


def test_faults_of_the_machine_are_the_users_to_mend():
    with pytest.raises(MachineError, match="^/x: Read-only file system; "), as_user_errors("spec"):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/x")
    nameless = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space") as caught, as_user_errors():
        raise nameless
    assert caught.value is nameless
    with pytest.raises(MachineError, match="^/proc: No space"), as_user_errors("", [Path("/proc")]):
        raise nameless


def test_sources_default_to_the_embedded_pictures():
    assert set(resolve_sources(quick_study(), TRAINER)) == {
        "train",
        "reference",
        "query",
        "test_query",
    }


def test_one_folder_is_split(tmp_path):
    study = quick_study(data=DataSources(folder=str(tmp_path)))
    assert resolve_sources(study, TRAINER) == {
        name: f"{tmp_path}/{name}" for name in ("train", "reference", "query")
    }


@pytest.mark.parametrize("name", ["folder", "query"])
def test_an_address_with_a_password_is_refused_before_anything_is_written(name):
    study = quick_study(data=replace(DataSources(), **{name: "ftp://bob:secret@h/x.zip"}))
    with pytest.raises(SpecError, match="^ftp://bob@h/x.zip: must be given without the password"):
        resolve_sources(study, TRAINER)


def test_given_sources_are_absolute_and_addresses_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = DataSources(train="a", reference="s3://bucket/r", query="file:///q", test_query="b/../t")
    assert resolve_sources(quick_study(data=data), TRAINER) == {
        "train": f"{tmp_path}/a", "reference": "s3://bucket/r", "query": "/q",
        "test_query": f"{tmp_path}/t",
    }  # fmt: skip


def test_the_base_spec_has_defaults_overrides_and_data():
    spec = build_base_spec(
        quick_study({"train.num_epochs": 5}), TRAINER, {"train": "/t", "test_query": "/x"}
    )
    assert spec["train"]["num_epochs"] == 5
    assert spec["train"]["lr"] == 0.001
    assert spec["data"]["train"] == "/t"
    assert num_epochs_of(spec, TRAINER) == 5


def test_a_spec_key_that_the_trainer_does_not_know():
    with pytest.raises(SpecError, match=r"^spec: train.nothing: unknown key"):
        build_base_spec(quick_study({"train.nothing": 5}), TRAINER, {})


def test_weights_must_be_a_file(tmp_path):
    with pytest.raises(SpecError, match="weights: .*none.pth does not exist.*--weights"):
        build_base_spec(quick_study(weights=str(tmp_path / "none.pth")), TRAINER, {})


def space_of(study, trials=None):
    return build_space(study, TRAINER, build_base_spec(study, TRAINER, {}), num_trials=trials)


def test_the_space_follows_the_studys_wishes():
    search = SearchOptions(over=("train.lr",), ranges={"train.lr": [1e-4, 1e-2]})
    space = space_of(quick_study(search=search))
    assert [p.name for p in space.parameters] == ["train.lr"]


def test_nothing_left_to_search_is_the_users_matter():
    fixed = {"train.lr": 0.1, "train.margin": 0.2, "train.width": 5}
    with pytest.raises(SpecError, match="search: nothing is left to search"):
        space_of(quick_study(search=SearchOptions(fix=fixed)))


@pytest.mark.parametrize(
    "search",
    [
        SearchOptions(over=("train.lrr",)),
        SearchOptions(ranges={"train.lr": [0.5, 0.1]}),
        SearchOptions(ranges={"train.nothing": [0.1, 0.5]}),
        SearchOptions(options={"train.nothing": [1]}),
        SearchOptions(fix={"train.nothing": 1}),
    ],
)
def test_wishes_that_do_not_fit_the_schema(search):
    with pytest.raises(SpecError) as caught:
        space_of(quick_study(search=search))
    assert "\n" not in str(caught.value)


def test_the_length_of_a_search_shapes_its_space_only_once():
    """An extended search must find the space it began with."""
    study = quick_study(budget=Budget(trials=4))
    longer = replace(study, budget=Budget(trials=24))
    assert space_of(study, trials=4).digest == space_of(longer, trials=4).digest
    assert space_of(study, trials=4).digest != space_of(longer, trials=24).digest


def test_held_out_sources():
    splits = {"train": "t", "reference": "r", "query": "q"}
    assert held_out_sources(splits) is None
    assert held_out_sources({**splits, "test_query": "x"}) == {
        "train": "t", "reference": "r", "query": "x",
    }  # fmt: skip
    both = {**splits, "test_query": "x", "test_reference": "y"}
    assert held_out_sources(both) == {"train": "t", "reference": "y", "query": "x"}


def test_plan_json_is_for_people_too(tmp_path):
    PLAN.write(tmp_path)
    text = (tmp_path / PLAN_FILE).read_text()
    assert json.loads(text)["base_spec"] == {"a": {"b": 1e-4}}
    assert text.count("\n") > 10


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """A list with all splits, two classes of six pictures each, its own cache folder."""
    from PIL import Image

    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    rows = ["path,label,split,day"]
    splits = ("train", "train", "gallery", "val", "test", "train")
    for label in ("a", "b"):
        for i, split in enumerate(splits):
            Image.new("RGB", (8, 8), (i, 9, 9)).save(tmp_path / f"{label}{i}.png")
            rows.append(f"{label}{i}.png,{label},{split},{label}{i % 5}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    return tmp_path / "list.csv"


def names_in(source):
    lines = Path(source).read_text().splitlines()[1:]
    return {Path(line.split(",")[0]).name for line in lines}


@pytest.mark.parametrize("whole", [True, False])
def test_a_list_with_splits_gives_each_source_its_rows(listed, tmp_path, whole):
    names = ("train", "reference", "query", "test_query")
    data = (
        DataSources(folder=str(listed), group_by="day")
        if whole
        else DataSources(**dict.fromkeys(names, str(listed)), group_by="day")
    )
    kept = tmp_path / "kept"  # of a cluster, whose nodes have caches of their own
    found = resolve_sources(replace(quick_study(), data=data), find_trainer("ml_recog"), kept)
    assert all(kept in Path(place).parents for place in found.values())
    assert {name: names_in(found[name]) for name in names} == {
        "train": {"a0.png", "a1.png", "a5.png", "b0.png", "b1.png", "b5.png"},
        "reference": {"a2.png", "b2.png"},
        "query": {"a3.png", "b3.png"},
        "test_query": {"a4.png", "b4.png"},
    }


@pytest.mark.parametrize("whole", [True, False])
def test_a_list_that_is_a_link_is_the_list_of_its_name(listed, tmp_path, whole):
    """As DVC and the cache of a hub keep files: elsewhere, by their sums, without an ending."""
    (tmp_path / "blobs").mkdir()
    listed.rename(tmp_path / "blobs" / "3f2a")
    listed.symlink_to("blobs/3f2a")
    names = ("train", "reference", "query")
    splits = dict.fromkeys(names, str(listed))
    data = DataSources(folder=str(listed)) if whole else DataSources(**splits)
    found = resolve_sources(replace(quick_study(), data=data), find_trainer("ml_recog"))
    assert [len(names_in(found[name])) for name in names] == [6, 2, 2]


def test_given_splits_that_share_groups_are_refused(listed):
    listed.write_text(listed.read_text().replace("a3.png,a,val,a3", "a3.png,a,val,a1"))
    data = DataSources(folder=str(listed), group_by="day")
    with pytest.raises(DataError, match=r"group_by: 1 group .*train and query: 1\), such as .*a1"):
        resolve_sources(replace(quick_study(), data=data), find_trainer("ml_recog"))


def test_a_trainer_that_knows_of_no_groups_is_told_so():
    study = replace(quick_study(), data=DataSources(folder="/photos", group_by="(.*)_"))
    with pytest.raises(
        SpecError, match=r"has no settle_sources, which keeping groups .*--group-by"
    ):
        resolve_sources(study, TRAINER)


@pytest.mark.parametrize(
    ("spec", "fix", "said"),
    [
        ({"train.lr": 7}, {}, r"train\.lr: is set and searched, so it must lie in \(0, 1\], got 7"),
        (
            {"train": {"lr": 0.25}},
            {"train.lr": 0.5},
            r"train\.lr: is set to 0\.25 and fixed to 0\.5",
        ),
    ],
)
def test_what_a_new_search_cannot_use_is_refused_and_an_older_one_goes_on(spec, fix, said):
    study = quick_study(spec=nest(spec), search=SearchOptions(fix=fix))
    base = build_base_spec(study, TRAINER, {})
    with pytest.raises(SpecError, match=said):
        settle_space(study, TRAINER, base, num_trials=3)
    assert build_space(study, TRAINER, base, num_trials=3).parameters


@pytest.mark.parametrize(
    "wrong", [0, -1, 1.5, "2", None, True, float("nan"), float("inf"), 2**40, [3]]
)
def test_a_length_that_no_trial_can_have_is_refused(wrong):
    with pytest.raises(SpecError, match=r"^train\.num_epochs: must be a whole number from 1 to "):
        num_epochs_of({"train": {"num_epochs": wrong}}, TRAINER)
    assert num_epochs_of({"train": {"num_epochs": 4.0}}, TRAINER) == 4
