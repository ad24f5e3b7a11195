import tarfile
from pathlib import Path

import pytest

from hpo.core.errors import DataError
from hpo.jobs.data_sources import joined, resolve_data_sources
from hpo.study.skill import load_skill

REFERENCE, QUERY = "dataset.val_dataset.reference", "dataset.val_dataset.query"
CALIBRATION = "gen_trt_engine.tensorrt.calibration.cal_image_dir"


def resolve(skill, action, root=None, overrides=None, **roots):
    roots = {**({"train_dataset_uri": str(root)} if root else {}), **roots}
    return resolve_data_sources(load_skill(skill), action, roots, overrides or {})


def below(root, *splits):
    return [str(root / split) for split in splits]


def test_training_reads_known_classes_and_what_follows_unknown_ones(skill, data):
    train = resolve(skill, "train", data)
    assert [train["dataset.train_dataset"], train[REFERENCE], train[QUERY]] == below(
        data, "known_classes/train", "known_classes/reference", "known_classes/val"
    )
    unknown = below(data, "unknown_classes/reference", "unknown_classes/test")
    assert list(resolve(skill, "evaluate", data).values()) == unknown
    inference = resolve(skill, "inference", data)
    assert [inference[REFERENCE], inference["inference.input_path"]] == unknown
    assert QUERY not in inference


PUBLISHED = "metric_learning_recognition/retail-product-checkout-dataset_classification_demo"


@pytest.mark.parametrize("which", ["own", "published"])
@pytest.mark.parametrize("layout", ["", PUBLISHED])
def test_both_layouts_are_found_under_both_skills(skill, data, tmp_path, request, which, layout):
    folder = skill if which == "own" else request.getfixturevalue("published")
    root = tmp_path / "root"
    (root / layout).parent.mkdir(parents=True, exist_ok=True)
    data.rename(root / layout)
    train = resolve(folder, "train", root)
    assert train["dataset.train_dataset"] == str(root / layout / "known_classes/train")
    evaluated = resolve(folder, "evaluate", root)
    assert evaluated[QUERY] == str(root / layout / "unknown_classes/test")
    with pytest.raises(DataError, match="no such folder or archive"):
        resolve(folder, "train", tmp_path)


def test_archives_are_preferred_to_folders_of_the_same_name(skill, data):
    archive = data / "known_classes" / "train.tar.gz"
    with tarfile.open(archive, "w:gz"):
        pass
    assert resolve(skill, "train", data)["dataset.train_dataset"] == str(archive)


def test_the_actions_own_root_comes_before_the_training_root(skill, data, tmp_path):
    other = tmp_path / "other"
    for split in ("reference", "test"):
        (other / "unknown_classes" / split).mkdir(parents=True)
    found = resolve(skill, "evaluate", data, eval_dataset_uri=str(other))
    assert found[QUERY] == str(other / "unknown_classes/test")
    assert resolve(skill, "train", data, eval_dataset_uri=str(other))[QUERY].startswith(str(data))


@pytest.mark.parametrize("form", ["dotted", "nested"])
def test_exact_keys_beat_roots(skill, data, tmp_path, form):
    own = tmp_path / "own"
    own.mkdir()
    overrides = {
        "dotted": {QUERY: str(own)},
        "nested": {"dataset": {"val_dataset": {"query": str(own)}}},
    }[form]
    found = resolve(skill, "train", data, overrides)
    assert found[QUERY] == str(own)
    assert found[REFERENCE] == str(data / "known_classes/reference")


def test_addresses_are_joined_and_not_looked_for(skill):
    found = resolve(skill, "train", train_dataset_uri="s3://shop/retail/")
    assert found["dataset.train_dataset"] == "s3://shop/retail/known_classes/train.tar.gz"
    assert joined("file:///x/", "a.tar") == "/x/a.tar"


@pytest.mark.parametrize("name", ["my shots", "100%", "a%20b", "exp#1", "what?"])
def test_an_address_of_this_machine_may_be_quoted_or_not(skill, data, name):
    root = data.rename(data.with_name(name))
    plain = resolve(skill, "train", str(root))
    assert resolve(skill, "train", f"file://{root}") == plain
    assert resolve(skill, "train", root.as_uri()) == plain
    given = {QUERY: (root / "known_classes/val").as_uri()}
    assert resolve(skill, "train", str(root), given)[QUERY] == str(root / "known_classes/val")


def test_relative_sources_become_absolute(skill, data, monkeypatch):
    monkeypatch.chdir(data)
    overrides = {"dataset.train_dataset": "known_classes/train"}
    found = resolve(skill, "train", ".", overrides)
    assert set(found.values()) == set(
        below(data, "known_classes/train", "known_classes/reference", "known_classes/val")
    )


def test_everything_that_is_missing_is_named_at_once(skill, data):
    with pytest.raises(DataError) as caught:
        resolve(skill, "train", overrides={QUERY: str(data / "nowhere")})
    text = str(caught.value)
    assert "\n" not in text
    for part in (
        "dataset.train_dataset (known_classes/train.tar.gz)", REFERENCE, "train_dataset_uri",
        f"{QUERY}: {data / 'nowhere'}: no such folder or archive",
    ):  # fmt: skip
        assert part in text


def test_an_empty_query_is_legal_for_inference_alone(skill, data):
    empty = {"dataset.val_dataset": {"reference": str(data), "query": ""}}
    assert resolve(skill, "inference", data, empty)[REFERENCE] == str(data)
    for action in ("train", "evaluate"):
        with pytest.raises(DataError, match=rf"{QUERY}: must not be empty for {action}"):
            resolve(skill, action, data, empty)


@pytest.mark.parametrize("given", ["one", ["one", "two"]])
def test_calibration_pictures_are_a_list(skill, tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    names = given if isinstance(given, list) else [given]
    found = resolve(skill, "gen_trt_engine", overrides={CALIBRATION: given})
    assert found[CALIBRATION] == [str(tmp_path / name) for name in names]


def test_calibration_pictures_are_for_int8_alone(skill, data):
    int8, fp32 = ({"trt_data_type": kind} for kind in ("INT8", "FP32"))
    assert resolve(skill, "gen_trt_engine", overrides=fp32) == {}
    with pytest.raises(DataError, match="cal_image_dir"):
        resolve(skill, "gen_trt_engine", overrides=int8)
    found = resolve(skill, "gen_trt_engine", calibration_dataset_uri=str(data), overrides=int8)
    assert found == {CALIBRATION: [str(data / "known_classes/train")]}


def test_another_format_is_refused(skill, data):
    with pytest.raises(
        DataError, match="data_format: must be 'default' for this skill, got 'coco'"
    ):
        resolve_data_sources(
            load_skill(skill), "train", {"train_dataset_uri": str(data)}, {}, data_format="coco"
        )


def test_the_published_table_is_read_as_it_is(published, tmp_path):
    base = "metric_learning_recognition/retail-product-checkout-dataset_classification_demo"
    for split in ("reference", "test"):
        (tmp_path / base / "unknown_classes").mkdir(parents=True, exist_ok=True)
        (tmp_path / base / "unknown_classes" / f"{split}.tar.gz").touch()
    found = resolve(published, "evaluate", tmp_path)
    unknown = tmp_path / base / "unknown_classes"
    assert found == {
        REFERENCE: str(unknown / "reference.tar.gz"), QUERY: str(unknown / "test.tar.gz"),
    }  # fmt: skip
    with pytest.raises(DataError, match=r"known_classes/train\.tar\.gz"):
        resolve(published, "train", tmp_path)
    assert Path(found[QUERY]).is_file()
