import pytest
import yaml

from hpo.core.yaml_io import parse_word
from trainer.config.files import read_names, read_overrides, read_spec_file, spec_text
from trainer.errors import SpecError


def write(tmp_path, text):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    return path


def test_floats_without_a_point_are_numbers(tmp_path):
    path = write(tmp_path, "a: 1e-4\nb: 3.5e-4\nc: 2E3\nd: [1e-2, 5]\ne: '1e-4'\nf: 1e-4x\n")
    assert read_spec_file(path) == {
        "a": 1e-4,
        "b": 3.5e-4,
        "c": 2000.0,
        "d": [0.01, 5],
        "e": "1e-4",
        "f": "1e-4x",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"spec\.yaml line 1: must be YAML, but"),
        ("a: 1\nb: 2\na: 3\n", r"spec\.yaml line 3: must be YAML, but the key 'a' is given twice"),
        ("- a\n- b\n", r"spec\.yaml: must hold a mapping of keys to values, got list"),
        (
            "a: !!python/object/apply:os.getcwd []",
            r"the tag !!python/object/apply:os\.getcwd is refused",
        ),
    ],
)
def test_file_that_holds_no_spec_is_one_clear_line(tmp_path, text, message):
    with pytest.raises(SpecError, match=message) as caught:
        read_spec_file(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_merges_count_as_often_as_they_are_used(tmp_path):
    lines = ["l0: &l0 {k: 1}"]
    lines += [f"l{i}: &l{i} {{<<: [{', '.join([f'*l{i - 1}'] * 10)}]}}" for i in range(1, 10)]
    (tmp_path / "spec.yaml").write_text("\n".join(lines))
    with pytest.raises(SpecError, match="more than 200000 values once its aliases"):
        read_spec_file(tmp_path / "spec.yaml")


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(SpecError, match=r"none\.yaml: no such spec file"):
        read_spec_file(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="must be a spec file, and is a folder"):
        read_spec_file(tmp_path)


def test_binary_file_is_named(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"spec\.yaml: must be text in UTF-8, and byte 1 is not"):
        read_spec_file(path)


def test_empty_file_is_an_empty_spec(tmp_path):
    assert read_spec_file(write(tmp_path, "# nothing\n")) == {}


def test_overrides_are_yaml_and_short_names_are_expanded():
    words = [
        "num_epochs=3",
        "trunk_learning_rate=1e-4",
        "train.optim.steps=[3, 5]",
        "dataset.val_dataset={reference: r, query: q}",
        "train.train_trunk=false",
        "wandb.name=",
        "dataset.train_dataset=s3://bucket/a=b",
    ]
    assert read_overrides(words, "train") == {
        "train.num_epochs": 3,
        "train.optim.trunk.base_lr": 1e-4,
        "train.optim.steps": [3, 5],
        "dataset.val_dataset": {"reference": "r", "query": "q"},
        "train.train_trunk": False,
        "wandb.name": "",
        "dataset.train_dataset": "s3://bucket/a=b",
    }


def test_batch_size_means_the_batch_of_the_action():
    assert read_overrides(["batch_size=8"], "train") == {"train.batch_size": 8}
    assert read_overrides(["batch_size=8"], "evaluate") == {"evaluate.batch_size": 8}


@pytest.mark.parametrize("word", ["train.seed", "=3"])
def test_override_without_key_or_sign_is_refused(word):
    with pytest.raises(SpecError, match="overrides must be spelt key=value"):
        read_overrides([word], "train")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/data/set #2", "/data/set #2"),
        ("#7", "#7"),
        ("/runs/a: b/last.ckpt", "/runs/a: b/last.ckpt"),
        ("*.jpg", "*.jpg"),
        ("@home", "@home"),
        (" padded ", "padded"),
        ('"#7" # a comment', "#7"),
        ("'it''s'", "it's"),
        ("~", None),
        ("null", None),
        ("null # none", None),
        ("# null", "# null"),
    ],
)
def test_text_is_taken_as_the_command_line_has_it(text, value):
    words = [f"{name}={text}" for name in ("results_dir", "dataset.train_dataset")]
    assert set(read_overrides(words, "train").values()) == {value}
    assert read_overrides(["train.num_epochs=3 # of 9"], "train") == {"train.num_epochs": 3}


def test_a_key_with_two_values_is_refused():
    with pytest.raises(
        SpecError, match=r"^train\.num_epochs: is given twice, as 3 and 5; leave one"
    ):
        read_overrides(["num_epochs=3", "train.seed=1", "train.num_epochs=5"], "train")
    with pytest.raises(SpecError, match=r"^results_dir: is given twice, as 'a' and 'b'"):
        read_overrides(["results_dir=a", "results_dir=b"], "train")
    assert read_overrides(["results_dir=a", "results_dir=a"], "train") == {"results_dir": "a"}


def test_override_that_is_not_yaml_is_refused():
    with pytest.raises(SpecError, match=r"train\.optim\.steps line 1: must be YAML"):
        read_overrides(["train.optim.steps=[3"], "train")
    with pytest.raises(SpecError, match=r"results_dir line 1: must be YAML"):
        read_overrides(["results_dir='a"], "train")


def test_written_text_reads_back(tmp_path):
    spec = {"b": {"x": 1e-5, "y": [1, 2]}, "a": "1e-4", "c": True}
    spec["d"] = ["-.5", "+.5", "1_0e5", "2024_1e2", "010"]
    assert read_spec_file(write(tmp_path, spec_text(spec))) == spec


NAMES = ["001", "yes", "12:30:00", "1e3", "0x1F", "2024-01-01", "1.10", "true", "5"]


@pytest.mark.parametrize("name", NAMES)
def test_keys_that_hold_text_keep_it_as_it_is_written(tmp_path, name):
    text = f"results_dir: {name}\ndataset:\n  class_map: {name}\n  val_dataset: {{query: {name}}}\n"
    read = read_spec_file(write(tmp_path, text + "train.num_epochs: 0x10\ntrain: {seed: 3}\n"))
    assert read["results_dir"] == read["dataset"]["class_map"] == name
    assert read["dataset"]["val_dataset"] == {"query": name}
    assert read["train.num_epochs"] == 16  # as YAML has it
    assert read["train"] == {"seed": 3}
    assert read_overrides([f"dataset.class_map={name}"], "train") == {"dataset.class_map": name}


@pytest.mark.parametrize("text", ["!!str /data/x", " !!str '/data/x'"])
def test_a_tagged_word_is_yaml_as_the_harness_reads_it(text):
    assert read_overrides([f"dataset.class_map={text}"], "train") == {
        "dataset.class_map": parse_word(text, "--set")
    }
    assert parse_word(text, "--set") == "/data/x"


@pytest.mark.parametrize("text", ["010", "1:30", "2026-01-31", "2020-13-45", "-07", "1:30.5"])
def test_what_nobody_writes_for_a_number_is_text_and_written_so(tmp_path, text):
    """YAML 1.1 reads 010 as 8, 1:30 as 90 and the third as a date."""
    read = read_spec_file(write(tmp_path, f"train: {{seed: {text}, optim: {{steps: [{text}]}}}}"))
    assert read == {"train": {"seed": text, "optim": {"steps": [text]}}}
    assert read_spec_file(write(tmp_path, spec_text(read))) == read
    assert yaml.safe_load(spec_text(read)) == read


def test_lists_of_texts_keep_them_and_null_stays_nothing(tmp_path):
    text = "gen_trt_engine:\n  tensorrt:\n    calibration: {cal_image_dir: [001, yes, a]}\n"
    read = read_spec_file(write(tmp_path, text + "dataset: {class_map: null}\n"))
    assert read["gen_trt_engine"]["tensorrt"]["calibration"] == {
        "cal_image_dir": ["001", "yes", "a"]
    }
    assert read["dataset"] == {"class_map": None}


def test_a_mapping_of_names_is_read_as_it_is_written(tmp_path):
    path = write(tmp_path, "001: 1e3\nyes: ~\n")
    assert read_names(path, "class map") == {"001": "1e3", "yes": "~"}
    with pytest.raises(SpecError, match="no such class map"):
        read_names(tmp_path / "gone.yaml", "class map")
