"""`hpo doctor` as a user calls it, on pictures made here."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpo.cli import search
from hpo.cli.main import main
from hpo.cli.study_flags import study_from_args
from hpo.core.errors import HpoError
from hpo.doctor import machine
from hpo.study.plan import resolve_sources
from trainer.session import TRAINER


@pytest.fixture(autouse=True)
def _quick_torch(monkeypatch):
    monkeypatch.setattr(machine, "_TORCH", 'print(\'{"cuda": false, "built_for": null}\')')


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "reference", "query"):
        for name in ("apple", "grape"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                noise = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                picture = Image.fromarray(noise).resize((48, 48), Image.Resampling.BICUBIC)
                picture.save(folder / f"{i}.png")
    return tmp_path


def flags(root):
    names = ("train", "reference", "query")
    return [word for name in names for word in (f"--{name}", str(root / name))]


def test_a_clean_set(pictures, capsys):
    assert main(["doctor", *flags(pictures)]) == 0
    out = capsys.readouterr().out
    assert "8 pictures of 2 classes, 4 each" in out
    assert "BAD" not in out


def test_a_list_is_looked_at_and_its_groups_must_not_straddle(pictures, capsys):
    splits = {"train": "train", "reference": "gallery", "query": "val"}
    rows = [
        f"{split}/{name}/{i}.png,{name},{splits[split]},{name}{i if split == 'query' else split}"
        for split in splits
        for name in ("apple", "grape")
        for i in range(4)
    ]
    (pictures / "all.csv").write_text("\n".join(["path,label,split,shelf", *rows]))
    wanted = ["doctor", "--data", str(pictures / "all.csv"), "--group-by", "shelf"]
    assert main(wanted) == 0
    assert "query           8 pictures of 2 classes, 4 each" in capsys.readouterr().out
    rows[0] = rows[0].rpartition(",")[0] + ",apple2"
    (pictures / "all.csv").write_text("\n".join(["path,label,split,shelf", *rows]))
    assert main(wanted) == 2
    out = capsys.readouterr().out
    assert "1 group (by shelf) of which pictures are in two splits (train and query: 1)" in out
    assert str(pictures / "query/apple/2.png") in out


def test_a_wrong_row_is_named(pictures, capsys):
    (pictures / "all.csv").write_text("path,label\nquery/apple/0.png,apple\nnone.png,apple\n")
    assert main(["doctor", "--train", str(pictures / "all.csv")]) == 2
    assert f"{pictures}/all.csv: row 3: no such picture: none.png" in capsys.readouterr().out


def test_a_broken_picture_stops_and_is_named(pictures, capsys):
    broken = pictures / "train" / "apple" / "2.png"
    broken.write_bytes(broken.read_bytes()[:100])
    assert main(["doctor", *flags(pictures)]) == 2
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if "BAD" in line)
    assert str(broken) in line
    assert "1 fault to mend before a search" in out


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Make `<name>/<class>/<i>.png` and a list of them, with columns whose cells come in turn."""
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))

    def make(name, counts, **columns):
        rng = np.random.default_rng(len(name))
        rows = [",".join(["path", "label", *columns])]
        for label, count in counts.items():
            for i in range(count):
                path = tmp_path / name / label / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                Image.fromarray(noise).resize((48, 48), Image.Resampling.BICUBIC).save(path)
                cells = [column[i % len(column)] for column in columns.values()]
                rows.append(",".join([str(path), label, *cells]))
        (tmp_path / f"{name}.csv").write_text("\n".join(rows))
        return tmp_path / name

    return make


def answers(words, capsys):
    """What the doctor finds wrong, and what a search that is asked the same would say."""
    code = main(["doctor", *words, "--json"])
    findings = json.loads(capsys.readouterr().out)["data"]["findings"]
    errors = [found["message"] for found in findings if found["severity"] == "error"]
    assert code == (2 if errors else 0)
    parser = argparse.ArgumentParser()
    search.add_arguments(parser)
    try:
        resolve_sources(study_from_args(parser.parse_args(words)), TRAINER)
    except HpoError as error:
        return errors, [str(error)]
    return errors, []


TWELVE = dict.fromkeys(("almond", "barley", "cashew", "dates", "elder", "fennel"), 2)


@pytest.mark.parametrize(
    ("counts", "columns", "more", "says"),
    [
        ({"apple": 5, "grape": 4}, {}, (), "1 of 2 have fewer: grape (4)"),
        ({"apple": 9, "grape": 1}, {}, (), "1 of 2 have fewer: grape (1)"),
        ({"apple": 9}, {}, (), "two classes or more must be there"),
        ({"apple": 6, "grape": 6}, {}, ("--class-disjoint",), "needs 6 classes or more, got 2"),
        (
            {"apple": 6, "grape": 6}, {"shelf": "abc"}, ("--group-by", "shelf"),
            "2 of 2 have fewer: apple (6 pictures in 3 groups)",
        ),
        (
            {"apple": 6, "grape": 6}, {"split": ("train", "val")}, (),
            "none is reference, it holds train (6) and query (6)",
        ),
        (
            {"apple": 8, "grape": 8}, {"split": ("train", "val", "gallery", "test gallery")}, (),
            "none is test_query, it holds train (4), reference (4), query (4) and test_ref",
        ),
        (
            {"apple": 6, "grape": 6}, {"split": ("train", "val", "gallery")},
            ("--class-disjoint",), "so there is nothing to split by class",
        ),
        ({"apple": 5, "grape": 6}, {}, (), ""),
        (TWELVE, {}, ("--class-disjoint",), ""),
        ({"apple": 8, "grape": 8}, {"shelf": "abcd"}, ("--group-by", "shelf"), ""),
    ],
)  # fmt: skip
def test_what_a_search_would_refuse_to_split_is_refused_in_the_same_words(
    shelf, capsys, counts, columns, more, says
):
    folder = shelf("all", counts, **columns)
    for place in (f"{folder}.csv", *([] if columns else [str(folder)])):
        errors, refusals = answers(["--data", place, *more], capsys)
        assert [says in error for error in errors] == ([True] if says else [])
        assert refusals == errors


def test_json_holds_everything(shelf, capsys):
    assert main(["doctor", "--data", str(shelf("all", {"a": 5, "b": 7})), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["splits"] == {
        "images": {"images": 12, "classes": 2, "per_class_min": 5, "per_class_max": 7}
    }
    assert found["data"]["findings"] == []
    assert {check["name"] for check in found["machine"]} >= {"python", "torch", "runs"}


def test_a_missing_folder_is_a_finding(tmp_path, capsys):
    assert main(["doctor", "--train", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().out


def test_many_files_are_cut_short_unless_asked_for(pictures, capsys):
    for i in range(8):
        (pictures / "train" / "apple" / f"{i}.xyz").write_bytes(b"x")
    assert main(["doctor", "--train", str(pictures / "train")]) == 0
    assert "and 3 more (--all)" in capsys.readouterr().out
    main(["doctor", "--train", str(pictures / "train"), "--all"])
    assert "7.xyz" in capsys.readouterr().out


def test_each_pair_of_like_pictures_is_one_line(pictures, capsys):
    apples, grapes = pictures / "train" / "apple", pictures / "train" / "grape"
    first = sorted(apples.iterdir())[0]
    for i in range(7):
        (grapes / f"copy{i}.png").write_bytes(first.read_bytes())
    main(["doctor", "--train", str(pictures / "train")])
    told = capsys.readouterr().out.partition("the same file in two classes")[2].splitlines()[1:7]
    for line in told[:5]:
        one, other = line.strip().split("  =  ")
        assert Path(one).read_bytes() == Path(other).read_bytes() == first.read_bytes()
    assert told[5].strip() == "and 2 more pairs (--all)"


def test_a_packaged_study_is_named_like_anywhere_else(pictures, capsys):
    assert main(["doctor", "quickstart", *flags(pictures)]) == 0
    assert "8 pictures of 2 classes, 4 each" in capsys.readouterr().out


def test_pictures_that_are_named_take_the_place_of_the_studys(pictures, tmp_path, capsys):
    file = tmp_path / "s.yaml"
    file.write_text("schema_version: 1\ndata: {train: train, reference: reference, query: none}\n")
    assert main(["doctor", str(file), "--data", str(pictures / "train"), "--json"]) == 2  # 4 each
    assert list(json.loads(capsys.readouterr().out)["data"]["splits"]) == ["images"]
    assert main(["doctor", str(file), "--query", str(pictures / "query"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["data"]["splits"]
    assert list(found) == ["train", "reference", "query"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--data", "d", "--train", "t"), "data: give either one folder to split or the splits"),
        (("--group-by", "shelf"), "data.group_by: needs pictures of your own"),
    ],
)
def test_what_a_search_would_refuse_is_refused(words, says, capsys):
    assert main(["doctor", *words]) == 2
    assert says in capsys.readouterr().err


def test_the_trainer_is_the_studys(tmp_path, capsys):
    file = tmp_path / "s.yaml"
    data = "data: {train: t, reference: r, query: q}"
    file.write_text(f"schema_version: 1\ntrainer: tests.quick_trainer:TRAINER\n{data}\n")
    plain = main(["doctor", "--trainer", "tests.quick_trainer:TRAINER"])
    capsys.readouterr()
    assert main(["doctor", str(file)]) == plain
    assert "note  not looked at   trainer quick has no diagnose_data" in capsys.readouterr().out
    assert main(["doctor", str(file), "--json"]) == plain
    told = json.loads(capsys.readouterr().out)
    assert told["machine"]
    assert told["data"] is None
