"""`hpo space` as a person and as a program see it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.cli.main import main
from hpo.core.yaml_io import to_yaml
from search_spaces import compile_space, load_schema
from tests.search_spaces.building import number, schema_of
from tests.staged_trainer import NAME, SEARCH
from trainer.start import choose_start

ROOT = Path(__file__).parents[3]

NODES = {
    "o.lr": number(0.0, 1.0, 3.5e-4, "> 0.0"),
    "o.momentum": number(0.0, 1.0, 0.9, "> 0.0"),
    "o.name": {
        "type": "categorical",
        "enum": ["Adam", "SGD"],
        "option_weights": [0.75, 0.25],
        "default": "Adam",
        "popular": True,
    },
    "o.steps": {"type": "list_2", "default": [3, 6], "minimum": 1, "maximum": 9},
    "m.parent": number(100, 600, 390, kind="int"),
    "m.child": number(1, 900, 500, "> depends_on", kind="int", depends_on="m.parent"),
    "m.half": number(0, 900, 1, "/ 2", kind="int", depends_on="m.parent"),
    "m.kernel": {"type": "list_3", "default": [15, 15], "minimum": 1, "maximum": 21},
    "m.frozen": {"type": "list_1_backbone", "default": [0], "minimum": -1, "maximum": 3},
    "l.sub": {"type": "subset_list", "enum": ["q", "v"], "default": ["q"]},
    "l.save": {"type": "optional_list", "enum": ["head"], "default": None},
    "l.only": number(3, 3, 3, kind="int"),
}


@pytest.fixture
def schema_file(tmp_path):
    path = tmp_path / "train.schema.json"
    path.write_text(json.dumps(schema_of(NODES)))
    return path


def run(capsys, *words):
    code = main(["space", *map(str, words)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_table_explains_every_parameter_and_shows_popular_ones_first(capsys, schema_file):
    code, out, _ = run(capsys, "--schema", schema_file)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["PARAMETER", "DEFAULT", "DISTRIBUTION", "WHEN", "WHY"]
    assert lines[1].startswith("o.name")
    assert "Adam 75%, SGD 25%" in lines[1]
    (rate,) = (line for line in lines if line.startswith("o.lr"))
    assert "0.00035" in rate
    assert "log 3.5e-06 .. 0.035" in rate
    assert "in the bottom tenth" in rate
    assert any(line.startswith("l.only") and "one legal value" in line for line in lines)
    assert lines[-1] == "searched: 11 parameters; pinned: 1"


def test_json_holds_what_varies_what_is_pinned_and_the_warnings(capsys, schema_file):
    _, out, _ = run(capsys, "--schema", schema_file, "--json", "--fix", "o.name=SGD")
    data = json.loads(out)
    assert set(data) == {"parameters", "pinned", "warnings"}
    names = [item["name"] for item in data["parameters"]]
    assert "o.name" not in names
    assert "l.only" not in names
    (rate,) = (item for item in data["parameters"] if item["name"] == "o.lr")
    assert rate["distribution"] == {"type": "float", "low": 3.5e-6, "high": 3.5e-2, "scale": "log"}
    assert (rate["type"], rate["default"], rate["condition"]) == ("float", 3.5e-4, None)
    assert {"name": "o.name", "value": "SGD", "reason": "fixed by the user"} in data["pinned"]


def test_samples_are_flat_lines_with_pinned_values_and_repeat_with_the_seed(capsys, schema_file):
    words = ("--schema", schema_file, "--sample", 5, "--seed", 3, "--json")
    _, out, _ = run(capsys, *words)
    points = [json.loads(line) for line in out.splitlines()]
    assert len(points) == 5
    space = compile_space(load_schema(schema_file))
    for point in points:
        assert set(point) == set(NODES)
        assert point["l.only"] == 3
        assert point["m.half"] == point["m.parent"] // 2
        space.validate(point)
    assert run(capsys, *words)[1] == out
    assert run(capsys, *words[:5], 4, "--json")[1] != out


def test_overlays_on_the_command_line(capsys, schema_file):
    words = (
        "--search-over",
        "o.lr,m.kernel",
        "--range",
        "o.lr=1e-6..1e-4",
        "--options",
        "o.name=SGD,Adam",
    )
    _, out, _ = run(capsys, "--schema", schema_file, "--json", *words)
    found = {item["name"]: item["distribution"] for item in json.loads(out)["parameters"]}
    assert set(found) == {"o.lr", "m.kernel", "o.name"}
    assert (found["o.lr"]["low"], found["o.lr"]["high"]) == (1e-6, 1e-4)


def test_all_problems_of_an_overlay_in_one_line(capsys, schema_file):
    code, out, err = run(
        capsys, "--schema", schema_file, "--range", "o.lr=2..1", "--search-over", "+o.momntum"
    )
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "o.lr: low < high must hold" in err
    assert "o.momntum: no such parameter in the schema, did you mean o.momentum?" in err


def test_schema_that_is_no_json_is_one_line(capsys, tmp_path):
    path = tmp_path / "train.schema.json"
    path.write_text("oops")
    code, out, err = run(capsys, "--schema", path)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "train.schema.json: must be JSON" in err


def test_a_plot_is_told_as_json_to_programs(capsys, schema_file, tmp_path):
    page = tmp_path / "space.html"
    words = ("--schema", schema_file, "--plot", page, "--json")
    for _ in range(2):
        code, out, _ = run(capsys, *words)
        assert (code, json.loads(out)) == (0, {"plot": str(page)})
    page.write_text("<html>mine</html>")
    assert "space.html was not written by this command" in run(capsys, *words)[2]
    assert page.is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--plot p.html --sample 3", "--sample"),
        ("--lint --plot p.html", "--plot"),
        ("--seed 7", "--seed: is of --sample; add that"),
        ("--lint --trials 5 --fix a.b=1", "--fix, --trials: not used with --lint, which looks"),
        ("--lint --trials -5", "--trials: must be at least 1, got -5"),
    ],
)
def test_what_would_be_passed_over_is_refused(capsys, schema_file, words, says):
    try:
        code, out, err = run(capsys, "--schema", schema_file, *words.split())
    except SystemExit as end:
        code, (out, err) = end.code, capsys.readouterr()
    assert (code, out) == (2, "")
    assert says in err


def test_lint_finds_the_faults(capsys, tmp_path):
    path = tmp_path / "train.schema.json"
    path.write_text(json.dumps(schema_of({"a.x": number(0.2, 1.0, -0.2), "a.y": {"type": "int"}})))
    code, out, _ = run(capsys, "--schema", path, "--lint")
    assert code == 0
    assert "a.x: default: default -0.2 lies outside [0.2, 1]" in out
    assert "a.y: unbounded" in out
    _, out, _ = run(capsys, "--schema", path, "--lint", "--json")
    assert {item["kind"] for item in json.loads(out)} == {"default", "unbounded"}
    path.write_text(json.dumps(schema_of({"a.x": number(0.2, 1.0, 0.5)})))
    assert (
        run(capsys, "--schema", path, "--lint")[1]
        == f"nothing suspicious in the schema of {path}\n"
    )


def test_space_of_a_study_knows_its_trainer_and_overlay(capsys, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(
        "schema_version: 1\n"
        "trainer: tests.quick_trainer:TRAINER\n"
        "spec: {train: {lr: 0.01}}\n"
        "search: {over: [train.lr, train.width], ranges: {train.width: [16, 128]}}\n"
    )
    _, out, _ = run(capsys, study, "--json", "--fix", "train.width=32")
    data = json.loads(out)
    assert [item["name"] for item in data["parameters"]] == ["train.lr"]
    assert data["parameters"][0]["default"] == 0.01
    assert data["pinned"][0]["name"] == "train.width"


def test_space_of_a_run_is_what_it_searched(capsys, tmp_path, monkeypatch):
    folder = tmp_path / "runs/shop/20261201-101010"
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(
        "schema_version: 1\nname: shop\ntrainer: tests.quick_trainer:TRAINER\n"
        "search: {over: [train.width], ranges: {train.width: [16, 99]}}\n"
    )
    (folder / "ledger.db").touch()
    monkeypatch.chdir(tmp_path)
    for name in ("shop", "runs/shop", folder):
        data = json.loads(run(capsys, name, "--json")[1])
        (parameter,) = data["parameters"]
        assert parameter["name"] == "train.width"
        assert parameter["distribution"]["high"] == 99
    assert (
        json.loads(run(capsys, "shop", "--json", "--set", "train.width=44")[1])["parameters"][0][
            "default"
        ]
        == 44
    )


def test_without_a_study_it_is_what_a_search_of_pictures_would_search(capsys):
    start = choose_start({}, gpus=0, budget_s=None)
    data = json.loads(run(capsys, "--json")[1])
    assert {item["name"] for item in data["parameters"]} >= set(start["search"])
    rows = {item["name"]: item for item in data["parameters"]}
    for name, (low, high, _) in start["ranges"].items():
        found = rows[name]["distribution"]
        assert (found["low"], found["high"]) == (low, high)
    told = run(capsys)[1].splitlines()
    assert told[: len(start["reasons"])] == [f"start     {reason}" for reason in start["reasons"]]
    plain = json.loads(run(capsys, "--json", "--set", "model.backbone=resnet_50")[1])
    assert "train.optim.triplet_loss_margin" in {item["name"] for item in plain["parameters"]}


def test_each_stage_of_a_study_has_its_own_table(capsys, tmp_path):
    study = tmp_path / "study.yaml"
    search = {**SEARCH, "over": list(SEARCH["over"])}
    study.write_text(to_yaml({"schema_version": 1, "trainer": NAME, "search": search}))
    data = json.loads(run(capsys, study, "--json")[1])
    assert [item["name"] for item in data["parameters"]] == ["train.lr", "train.width"]
    (margin,) = data["stages"]["heads"]["parameters"]
    assert (margin["name"], margin["distribution"]["high"]) == ("train.margin", 0.9)
    lines = run(capsys, study)[1].splitlines()
    places = [lines.index("stage heads"), lines.index("stage full, after the others")]
    assert [[line.split()[0] for line in lines[p + 2 :][:2]] for p in places] == [
        ["train.margin", "searched:"],
        ["train.lr", "train.width"],
    ]


def test_values_of_the_spec_that_go_nowhere_are_refused(capsys, schema_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "--schema", schema_file, "--set", "o.lr=1")
    assert (code, err.count("\n")) == (2, 1)
    assert "--set: a schema alone has no spec" in err
    code, _, err = run(capsys, "nowhere")
    assert (code, err.count("\n")) == (2, 1)
    assert "no run 'nowhere' below runs/" in err
    assert "a study file ends in .yaml" in err


def test_only_one_source(capsys, schema_file):
    with pytest.raises(SystemExit) as caught:
        main(["space", "study.yaml", "--schema", str(schema_file)])
    assert caught.value.code == 2


@pytest.mark.parametrize("skill", ["own", "published"])
def test_registered_trainer_pins_what_does_nothing(tmp_path, skill):
    shared = os.environ.get("HPO_SHARED_DIR")
    if skill == "published" and not shared:
        pytest.skip("HPO_SHARED_DIR is not set: the published skill is not at hand")
    folder = ROOT / "trainer" / "skill"
    if skill == "published":
        folder = Path(shared or "") / "reference" / "skill" / "ml_recog"
    info = tmp_path / "hpo_recognition-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hpo-recognition\nVersion: 0\n")
    points = "[hpo.trainers]\nml_recog = trainer.session:TRAINER\n"
    (info / "entry_points.txt").write_text(points)
    done = subprocess.run(
        [sys.executable, "-m", "hpo.cli.main", "space", "--skill", str(folder), "--json"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    pinned = {item["name"]: item["reason"] for item in data["pinned"]}
    assert {"train.optim.trunk.momentum", "train.optim.gamma"} <= set(pinned)
    assert all(reason.startswith("inactive: ") for reason in pinned.values())
    names = {item["name"] for item in data["parameters"]}
    assert {"train.optim.trunk.base_lr", "train.optim.embedder.base_lr"} <= names
    assert len(names) + len(pinned) == 15
