"""`hpo screen`: networks side by side, on tiny pictures."""

import argparse
import json
import shlex

import pytest

from hpo.cli import screen
from hpo.cli.main import build_parser
from hpo.core.errors import SpecError
from hpo.study.sections import DataSources
from tests.trainer.tiny import make_splits

TINY = ("--set", "model.feat_dim=8", "--set", "dataset.matching=prototypes")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folders = make_splits(tmp_path_factory.mktemp("pictures"))
    return "--reference", folders["reference"], "--query", folders["query"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))


def test_candidates_stand_in_a_table_the_best_first(hpo, pictures, tmp_path):
    flags = ("--trunks", "timm/test_resnet", "--sizes", "32", "48", "--seed", "3")
    code, out, err = hpo("screen", *pictures, *flags, *TINY, "--plot", "chart.html")
    assert code == 0
    header, first, second, _, order, start, chart = out.splitlines()
    assert header.split("  ")[0] == "WEIGHTS"
    assert {line.split()[2] for line in (first, second)} == {"32x32", "48x48"}
    values = [float(line.split("(")[1].split()[-1]) for line in (first, second)]
    assert values[0] >= values[1]
    assert "12 queries" in order
    assert start.startswith("start     hpo search --weights none --set model.")
    assert "model.backbone=timm/test_resnet" in start
    assert start.endswith(shlex.join(["--train", "DIR", *map(str, pictures), "--seed", "3"]))
    page = (tmp_path / "chart.html").read_text()
    assert len(page) > 1_000_000
    assert screen._SIGN in page[:2000]
    assert "timm/test_resnet random, 32 px: computing features: 12" in err


def test_json_and_a_file_that_does_not_fit(hpo, pictures, tmp_path):
    import torch

    file = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3, 3)}, file)
    words = ("--weights", str(file), "none", "--trunks", "timm/test_resnet", "--sizes", "32")
    page = "x" * 250 + ".html"  # which is no name too long for a file, but for its draft
    code, out, err = hpo("screen", *pictures, *words, *TINY, "--json", "--plot", page)
    found = json.loads(out)
    good, bad = found["candidates"]
    assert code == 2
    assert good["value"] == good["prototypes"]["class_mean"]
    assert good["interval"][0] <= good["value"] <= good["interval"][1]
    assert min(good["latency_ms"], good["params"], good["export_bytes"]) > 0
    assert bad["weights"] == str(file)
    assert "other.pth" in bad["error"]
    assert "File name too long" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--query", "q"), "data: reference missing; reference and query belong together"),
        (("--data", "d", "--query", "q"), "data: give either one folder to split or the splits"),
        (("--class-disjoint",), "data.class_disjoint: only applies"),
        (("--plot", "chart.png"), "--plot: must end in .html, got chart.png"),
        (("--plot", "f/chart.html"), "--plot: must be a file to write, and f/chart.html is a"),
        (("--plot", "mine.html"), "--plot: must not replace what is there, and mine.html was not"),
        (("--trunks", "timm/x", "--weights", "lite9"), "did you mean lite"),
        (("--trunks", "timm/nosuchnet"), "nosuchnet"),
        (("--trunks", "timm/test_resnet", "--sizes", "0"), "model.input_height"),
        (("--set", "model.nokey=1", "--trunks", "timm/test_resnet"), "model.nokey: no such key"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(fails, pictures, tmp_path, words, message):
    (tmp_path / "f").touch()
    (tmp_path / "mine.html").write_text("<html>")
    given = () if {"--query", "--data"} & set(words) else pictures
    assert message in fails("screen", *given, *words)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("s.yaml --data 'my shots' --class-disjoint --set feat_dim=8 --set model.input_width=64",
         "hpo search s.yaml --weights w --set model.input_width=32 --set feat_dim=8 "
         "--data 'my shots' --class-disjoint"),
        ("--set input_width=64 --set 'a.b=[1, 2]' --reference r --query q --seed 0",
         "hpo search --weights w --set model.input_width=32 --set 'a.b=[1, 2]' --train DIR "
         "--reference r --query q --seed 0"),
        ("s.yaml --query q", "hpo search s.yaml --weights w --set model.input_width=32 --query q"),
    ],
)  # fmt: skip
def test_the_start_line_is_the_whole_command(words, command):
    best = {"weights": "w", "spec": {"model.pretrained": "w", "model.input_width": 32}}
    args = build_parser("screen").parse_whole(["screen", *shlex.split(words)])
    short = {"input_width": "model.input_width", "feat_dim": "model.feat_dim"}
    said = screen._start(args, best, short)
    assert said == command
    assert build_parser("search").parse_whole(shlex.split(said)[1:]).weights == "w"


@pytest.mark.parametrize(
    "own", ["folder: nowhere", "train: t, reference: a, query: b, test_query: c"]
)
def test_pictures_that_are_named_take_the_place_of_the_studys(tmp_path, monkeypatch, own):
    monkeypatch.chdir(tmp_path)
    words = "search: {fix: {model.feat_dim: 16}}"
    (tmp_path / "s.yaml").write_text(f"schema_version: 1\ndata: {{{own}}}\n{words}\n")
    parser = argparse.ArgumentParser()
    screen.add_arguments(parser)

    def of(*more):
        return screen.study_from(parser.parse_args(["s.yaml", *more]))

    named = of("--reference", "r", "--query", "q", "--set", "model.feat_dim=8", "--seed", "3")
    assert named.data == DataSources(reference=str(tmp_path / "r"), query=str(tmp_path / "q"))
    assert (named.search.seed, named.search.fix) == (3, {"model.feat_dim": 8})
    if "folder" in own:
        assert of("--class-disjoint").data.class_disjoint
        with pytest.raises(SpecError, match="either one folder to split or the splits"):
            of("--query", "q")
    else:
        assert of("--query", "q").data.reference == str(tmp_path / "a")
