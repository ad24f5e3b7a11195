"""Runs whose pictures were renamed, moved or removed: told with the way to go on, and gone on with."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.cli.main import main
from hpo.core.budget import Budget
from hpo.core.errors import DataError, HpoError, RunError, SpecError
from hpo.core.yaml_io import read_yaml
from hpo.results.export import export_run
from hpo.run.run_dir import RunDir
from hpo.searching.moved_data import settle_run
from hpo.searching.session import resume_search, start_search
from hpo.searching.settings import SearchSettings
from hpo.study.plan import read_plan
from hpo.study.provenance import describe_source
from hpo.study.sections import DataSources
from hpo.study.spec import load_study
from tests.hpo.results.test_export import FORMED
from tests.quick_runs import Ear, quick_study
from tests.quick_trainer import QuickTrainer
from trainer.session import RecognitionTrainer

NAMES = ("train", "reference", "query")


def lay_pictures(folder):
    for name in NAMES:
        (folder / name / "a").mkdir(parents=True)
        (folder / name / "a" / "1.png").write_bytes(b"one" + name.encode())
    return folder


@pytest.fixture
def moved(tmp_path):
    """A finished run, and the folder that its pictures lie in now."""
    old = lay_pictures(tmp_path / "old")
    data = DataSources(**{name: str(old / name) for name in NAMES})
    study = replace(quick_study(budget=Budget(trials=2)), data=data)
    run = start_search(study, tmp_path / "runs", Ear().settings()).run
    old.rename(tmp_path / "new")
    return run, tmp_path / "new"


class Counting(QuickTrainer):
    """Knows how wide a network may be by its pictures."""

    def limits(self, spec):
        return {"train.width": (1, 100)} if Path(spec["data"]["train"]).exists() else {}


COUNTING = Counting()


def go_on(run, places=None, trials=4, **settings):
    chosen = Ear().settings(places=places or {}, **settings)
    return resume_search(run, chosen, budget=trials and Budget(trials=trials))


def test_folders_that_are_gone_are_named_with_the_flags_that_give_new_places(moved):
    run, new = moved
    with pytest.raises(RunError) as caught:
        go_on(run)
    line = str(caught.value)
    old = new.with_name("old")
    for name in NAMES:
        assert f"{name}: no such folder or archive: {old}/{name}" in line
    assert f"`hpo resume {run} --" in line
    assert "--force" not in line
    assert "\n" not in line


def test_the_same_pictures_at_a_new_place_are_gone_on_with_and_remembered(moved):
    run, new = moved
    places = {name: str(new / name) for name in NAMES}
    assert sum(go_on(run, places).finished.trials.values()) == 4
    plan = json.loads((run.path / "plan.json").read_text())
    assert plan["sources"] == places
    assert plan["base_spec"]["data"]["train"] == places["train"]
    assert read_yaml(run.study_file)["data"]["query"] == places["query"]
    for number in range(4):
        spec = read_yaml(run.trial_dir(number) / "spec.yaml")
        assert spec["data"]["reference"] == places["reference"]
    assert sum(go_on(run, trials=5).finished.trials.values()) == 5


def test_a_new_place_may_be_a_file_address(moved):
    run, new = moved
    with pytest.raises(DataError, match="no such folder or archive: /nowhere"):
        go_on(run, {"train": "file:///nowhere"})
    go_on(run, {name: f"file://{new}/{name}" for name in NAMES})
    plan = json.loads((run.path / "plan.json").read_text())
    assert plan["sources"] == {name: str(new / name) for name in NAMES}


def test_one_folder_of_several_can_be_gone(moved):
    run, new = moved
    old = new.with_name("old")
    old.mkdir()
    for name in ("train", "query"):
        (new / name).rename(old / name)
    with pytest.raises(RunError, match="^reference: no such folder") as caught:
        go_on(run)
    assert "--train" not in str(caught.value)
    assert go_on(run, {"reference": str(new / "reference")}).finished


def test_other_pictures_at_the_new_place_are_refused_and_nothing_is_written(moved):
    run, new = moved
    (new / "query" / "a" / "2.png").write_bytes(b"more")
    before = (run.path / "plan.json").read_bytes()
    places = {name: str(new / name) for name in NAMES}
    with pytest.raises(RunError, match="the data have changed.*query: was 1 files.*is 2 files"):
        go_on(run, places)
    assert (run.path / "plan.json").read_bytes() == before
    assert go_on(run, places, force=True).finished


def test_a_finished_run_takes_new_places_too(moved):
    run, new = moved
    go_on(run, {name: str(new / name) for name in NAMES}, trials=None)
    assert json.loads((run.path / "plan.json").read_text())["sources"]["train"] == f"{new}/train"


def test_a_finished_run_whose_space_depends_on_its_pictures_names_them(tmp_path):
    old = lay_pictures(tmp_path / "old")
    data = DataSources(**{name: str(old / name) for name in NAMES})
    study = replace(quick_study(budget=Budget(trials=1)), data=data, trainer=f"{__name__}:COUNTING")
    run = start_search(study, tmp_path / "runs", Ear().settings()).run
    assert go_on(run, trials=None).run.path == run.path
    old.rename(tmp_path / "new")
    with pytest.raises(RunError, match=f"train: no such folder or archive: {old}/train"):
        go_on(run, trials=None)


def test_links_that_lead_nowhere_count_as_gone(moved):
    run, new = moved
    old = new.with_name("old")
    for name in NAMES:
        (old / name / "a").mkdir(parents=True)
        (old / name / "a" / "1.png").symlink_to(new / "gone.png")
    with pytest.raises(RunError, match="^query: no such folder|^train: no such folder"):
        go_on(run)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"train": "/proc/nowhere"}, "--train: no such folder or archive: /proc/nowhere"),
        ({"data": "/etc"}, "--data: the run was searched with splits"),
    ],
)
def test_places_that_are_none_are_refused(moved, places, said):
    with pytest.raises(DataError, match=f"^{said}"):
        go_on(moved[0], places)


def test_a_run_on_pictures_of_its_own_takes_no_place(tmp_path):
    run = start_search(quick_study(budget=Budget(trials=1)), tmp_path, Ear().settings()).run
    with pytest.raises(DataError, match="the embedded pictures"):
        go_on(run, {"train": str(tmp_path)})
    shutil.rmtree(run.path)


def test_an_export_names_the_gallery_that_is_gone_where_it_needs_one(moved, monkeypatch):
    run, new = moved
    monkeypatch.setattr("hpo.results.export.find_trainer", lambda name: FORMED)
    whole = (run.best_dir / "model.onnx").read_bytes()
    for forms in ([], ["timm"], ["triton", "pixels"]):
        with pytest.raises(RunError, match=f"; reference: no such folder or arc.*: {new.parent}/o"):
            export_run(run, trial=None, file=None, forms=forms)
    export_run(run, trial=None, file=new / "copy.onnx", forms=["triton"])
    assert (new / "copy.onnx").read_bytes() == (new / "copy.triton").read_bytes() == whole


@pytest.fixture(params=["start.ckpt", "my start.ckpt"])
def started(request, tmp_path, monkeypatch):
    """A finished run that has begun from a file, which lies elsewhere now."""
    monkeypatch.chdir(tmp_path)
    old, new = tmp_path / request.param, tmp_path / "elsewhere" / "renamed.ckpt"
    new.parent.mkdir()
    old.write_text("weights")
    study = quick_study({"start": {"file": str(old)}}, budget=Budget(trials=2))
    study = replace(study, trainer="tests.file_trainer:TRAINER")
    run = start_search(study, tmp_path / "runs", Ear().settings()).run
    old.rename(new)
    return run, str(old), str(new)


def test_another_file_that_is_gone_is_told_with_how_to_give_its_new_place(started):
    run, old, _ = started
    with pytest.raises(HpoError) as caught:
        go_on(run)
    line = str(caught.value)
    assert f"{old}: no such file; bring it back, or give its new place: `hpo resume {run} " in line
    command = line.split("`")[1]
    assert shlex.split(command)[-2:] == ["--moved", f"{old}=PLACE"]


def test_another_file_at_its_new_place_is_gone_on_with_and_remembered(started):
    run, old, new = started
    assert sum(go_on(run, moved={old: new}).finished.trials.values()) == 4
    assert json.loads((run.path / "plan.json").read_text())["base_spec"]["start"]["file"] == new
    assert read_yaml(run.study_file)["spec"]["start"]["file"] == new
    assert read_yaml(run.trial_dir(0) / "spec.yaml")["start"]["file"] == new
    assert sum(go_on(run, trials=5).finished.trials.values()) == 5


def test_another_file_from_python_is_a_path_of_any_kind_and_kept_from_the_root(started):
    run, old, new = started
    assert go_on(run, moved={Path(old): Path("elsewhere/renamed.ckpt")}).finished
    assert json.loads((run.path / "plan.json").read_text())["base_spec"]["start"]["file"] == new
    assert read_yaml(run.trial_dir(0) / "spec.yaml")["start"]["file"] == new


def test_new_places_that_are_none_are_refused_and_nothing_is_written(started):
    run, old, new = started
    before = (run.path / "plan.json").read_bytes()
    for moved, said in (
        ({old: f"{new}.gone"}, "no such file or folder"),
        ({"/no/such.ckpt": new}, "the run names no file /no/such.ckpt"),
    ):
        with pytest.raises(DataError, match=said):
            go_on(run, moved=moved)
    assert (run.path / "plan.json").read_bytes() == before


def test_the_same_at_the_command_line(started, capsys):
    run, old, new = started
    words = ["resume", str(run), "--budget", "+1", "--in-process", "--yes"]
    assert main([*words, "--moved", old]) == 2
    assert "--moved" in capsys.readouterr().err.splitlines()[-1]
    assert main([*words, "--moved", f"{old}=elsewhere/renamed.ckpt"]) == 0
    assert read_yaml(run.study_file)["spec"]["start"]["file"] == new


class WithLists(QuickTrainer):
    """Reads lists, and splits them, as the recognition trainer does."""

    _inner = RecognitionTrainer()
    cache_folder, listed_files = _inner.cache_folder, _inner.listed_files
    split_data, settle_sources = _inner.split_data, _inner.settle_sources


WITH_LISTS = WithLists()
SPLIT_OF = ("train", "train", "train", "gallery", "val", "val")


def lay_lists(folder, kind, photos=None):
    """Write lists of two classes of six pictures, by whole paths; return them by a search's names."""
    photos = photos or folder / "photos"
    rows = [(f"{photos}/{c}/{i}.png", c, SPLIT_OF[i]) for c in "ab" for i in range(6)]
    folder.mkdir(exist_ok=True)
    if kind == "split":  # by the search
        lines = ["path,label", *(f"{path},{label}" for path, label, _ in rows)]
        (folder / "list.csv").write_text("\n".join(lines))
        return {"data": str(folder / "list.csv")}
    if kind == "marked":
        (folder / "list.csv").write_text("\n".join(["path,label,split", *map(",".join, rows)]))
        return dict.fromkeys(NAMES, str(folder / "list.csv"))
    for name, split in zip(NAMES, ("train", "gallery", "val"), strict=True):
        lines = [f"{path},{label}" for path, label, own in rows if own == split]
        (folder / f"{name}.csv").write_text("\n".join(["path,label", *lines]))
    return {name: str(folder / f"{name}.csv") for name in NAMES}


@pytest.fixture(params=["split", "marked", "given"])
def listed(request, tmp_path, monkeypatch):
    """A run, the folder of its lists and pictures, the lists, and what writes them elsewhere."""
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    old = tmp_path / "old"
    for label in "ab":
        (old / "photos" / label).mkdir(parents=True)
        for i in range(6):
            (old / "photos" / label / f"{i}.png").write_bytes(f"{label}{i}".encode())
    places = lay_lists(old, request.param)
    data = DataSources(**{"folder" if n == "data" else n: place for n, place in places.items()})
    trainer = f"{__name__}:WITH_LISTS"
    study = replace(quick_study(budget=Budget(trials=2)), data=data, trainer=trainer)
    run = start_search(study, tmp_path / "runs", Ear().settings()).run
    return run, old, places, lambda folder, photos=None: lay_lists(folder, request.param, photos)


def test_splits_of_this_machine_are_made_anew_where_a_cluster_sees_them(listed, tmp_path):
    run, old, places, _ = listed
    study, plan = load_study(run.study_file), read_plan(run.path)
    _, local = settle_run(run, study, plan, WITH_LISTS, SearchSettings())
    assert local == plan
    _, found = settle_run(run, study, plan, WITH_LISTS, SearchSettings(ray_address="h:1"))
    shared = old if "train" in places and "list" not in places["train"] else tmp_path / "runs/.data"
    assert all(shared in Path(place).parents for place in found.sources.values())
    assert read_plan(run.path).sources == found.sources
    plan.write(run.path)
    (tmp_path / "mine").mkdir()
    lone = RunDir(
        run.path.rename(tmp_path / "mine/best")
    )  # what lies above `mine` is not its user's
    _, found = settle_run(lone, study, plan, WITH_LISTS, SearchSettings(ray_address="h:1"))
    shared = shared if shared == old else tmp_path / "mine/.data"
    assert all(shared in Path(place).parents for place in found.sources.values())


def test_lists_and_their_pictures_at_a_new_place_are_gone_on_with(listed, tmp_path):
    run, old, _, lay = listed
    old.rename(tmp_path / "new")
    with pytest.raises(RunError, match="(data|train): no such folder or archive|no picture of it"):
        go_on(run)
    places = lay(tmp_path / "new")
    assert sum(go_on(run, places).finished.trials.values()) == 4
    assert sum(go_on(run, trials=5).finished.trials.values()) == 5
    (tmp_path / "new/photos/a/0.png").write_bytes(b"another")
    with pytest.raises(RunError, match=r"the data have changed since the search began \("):
        go_on(run, trials=6)


def test_pictures_that_have_moved_without_their_list_are_told(listed, tmp_path):
    run, old, _, lay = listed
    (old / "photos").rename(tmp_path / "photos")
    with pytest.raises(RunError, match=r"^\w+: \S+\.csv: no picture of it is there; ") as caught:
        go_on(run)
    assert " PLACE` (the run remembers it)" in str(caught.value)
    assert go_on(run, lay(old, photos=tmp_path / "photos")).finished


def test_a_split_that_is_gone_is_made_anew_for_an_export(listed, tmp_path):
    run, old, places, _ = listed
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    export_run(run, trial=None, file=None)
    assert Path(read_yaml(run.best_dir / "spec.yaml")["data"]["reference"]).is_file()
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    old.rename(tmp_path / "new")
    with pytest.raises(RunError, match=f"^{'data' if 'data' in places else 'train'}: no such f"):
        export_run(run, trial=None, file=None)


def test_another_label_in_a_list_is_a_change(listed):
    run, old, places, _ = listed
    for file in old.glob("*.csv"):
        file.write_text(file.read_text().replace("/a/0.png,a", "/a/0.png,b"))
    with pytest.raises(RunError, match="the data have changed since the search began"):
        go_on(run, places)


def test_a_run_that_has_kept_what_its_lists_themselves_are_goes_on(listed):
    """As those of earlier versions have."""
    run, *_ = listed
    kept = json.loads((run.path / "origin.json").read_text())
    sources = json.loads((run.path / "plan.json").read_text())["sources"]
    data = {name: describe_source(place) for name, place in sources.items()}
    assert data != kept["data"]
    (run.path / "origin.json").write_text(json.dumps({**kept, "data": data}))
    assert go_on(run).finished


def test_new_places_from_python_are_paths_of_any_kind_and_kept_from_the_root(
    moved, tmp_path, monkeypatch
):
    run, new = moved
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(new)
    places = {"train": Path("train"), "reference": "~/new/reference", "query": new / "query"}
    assert go_on(run, places).finished
    plan = json.loads((run.path / "plan.json").read_text())
    assert plan["sources"] == {name: str(new / name) for name in NAMES}
    for wrong in ({"train": 5}, {"train": ""}):
        with pytest.raises(SpecError, match="--train: must "):
            go_on(run, wrong)
