"""What is counted of a winner's queries."""

import json
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from hpo.executors.inprocess import InProcessExecutor
from hpo.report import mistakes
from hpo.run.run_dir import RunDir
from hpo.study.gone_data import with_sources
from hpo.study.plan import resolve_sources
from hpo.study.provenance import describe_written
from hpo.study.sections import DataSources
from tests.nobody import as_nobody
from tests.quick_trainer import NAME, QuickTrainer
from trainer.session import TRAINER


class Looking(QuickTrainer):
    """Tells of each query the folder that it lies in, or what the list says."""

    def __init__(self, query):
        self.query, self.looks = query, 0

    def call(self, method, spec, with_map):
        assert method == "explain"
        return self.explain(spec, with_map)

    def explain(self, spec, with_map=True):
        self.looks += 1
        if self.query.is_file():
            rows = [line.split(",") for line in self.query.read_text().split()]
        else:
            rows = [(path.name, path.parent.name) for path in sorted(self.query.glob("*/*"))]
            assert all(path.is_file() for path in self.query.glob("*/*")), "a broken link"
        queries = [{"path": path, "class": name, "hit": True} for path, name in rows]
        return {"queries": queries, "suspects": [], "map": {"method": "PCA"}}


@pytest.fixture
def look(facts, tmp_path):
    return look_below(tmp_path, facts)


def look_below(folder, facts):
    """Look the queries of a run up, by a list or a folder of them; returns path -> class."""
    own = replace(facts, run=RunDir(folder / "run"))
    own.run.checkpoints_dir(0).mkdir(parents=True)
    (own.run.checkpoints_dir(0) / "best.ckpt").touch()
    (folder / "r" / "lemon").mkdir(parents=True)

    def looked_up(trainer, is_held_out=False, scheme=""):
        sources = {"reference": f"{scheme}{folder}/r", "query": f"{scheme}{trainer.query}"}
        given = replace(own, trainer=trainer, plan=replace(own.plan, sources=sources))
        held_out = sources if is_held_out else None
        if is_held_out:
            given = replace(given, plan=replace(own.plan, sources={"query": "/none"}))
        found = mistakes.look(given, own.trials[0], trainer, with_map=True, held_out=held_out)
        return {row["path"]: row["class"] for row in found["queries"]}

    return looked_up


@pytest.mark.parametrize("is_held_out", [True, False])
def test_what_was_looked_up_is_used_until_pictures_or_labels_change(look, tmp_path, is_held_out):
    trainer = Looking(tmp_path / "q")
    for path in ("lemon/1.png", "lime/2.png"):
        (trainer.query / path).parent.mkdir(parents=True)
        (trainer.query / path).write_text(path)
    for _ in range(2):
        assert look(trainer, is_held_out) == {"1.png": "lemon", "2.png": "lime"}
    assert trainer.looks == 1
    (trainer.query / "lemon" / "1.png").rename(trainer.query / "lime" / "1.png")
    for _ in range(2):
        assert look(trainer, is_held_out) == {"1.png": "lime", "2.png": "lime"}
    assert trainer.looks == 2
    (tmp_path / "r" / "lemon" / "new.png").touch()
    look(trainer, is_held_out)
    assert trainer.looks == 3
    trainer.query.rename(tmp_path / "moved")
    assert look(trainer, is_held_out)["1.png"] == "lime"
    assert trainer.looks == 3
    trainer.query = tmp_path / "moved"
    look(trainer, is_held_out)
    assert trainer.looks == 4, "thumbnails lie at the new place"


def test_a_look_at_a_checkpoint_that_is_replaced_meanwhile_is_not_used_for_the_next(look, tmp_path):
    """As by `hpo report` while the search goes on: the look begins before, and ends after that."""
    best = tmp_path / "run" / "trials" / "0000" / "ckpt" / "best.ckpt"

    class Slow(Looking):
        def explain(self, spec, with_map=True):
            if not self.looks:
                best.write_text("a later epoch")
                os.utime(best, (1, 1))
            return super().explain(spec, with_map)

    trainer = Slow(tmp_path / "q.csv")
    trainer.query.write_text("1.png,apple\n")
    for looks in (1, 2, 2):
        look(trainer)
        assert trainer.looks == looks
    shutil.copytree(tmp_path / "run", tmp_path / "copy")  # which gives all files new times
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "copy").rename(tmp_path / "run")
    look(trainer)
    assert trainer.looks == 2


def test_a_look_that_fails_now_leaves_the_one_before(look, tmp_path, caplog):
    """A picture was moved out of a folder that a search has split: its link leads nowhere."""
    trainer = Looking(tmp_path / "q")
    (trainer.query / "lemon").mkdir(parents=True)
    (trainer.query / "lemon" / "1.png").symlink_to(tmp_path / "shop.png")
    (tmp_path / "shop.png").touch()
    before = look(trainer, False)
    assert before == {"1.png": "lemon"}
    (tmp_path / "shop.png").rename(tmp_path / "other.png")
    assert look(trainer, False) == before
    said = "trial 0 was not looked at anew, and is told of as before: AssertionError: a broken link"
    assert said in caplog.text


def test_pictures_that_may_not_be_looked_at_leave_the_one_before(look, tmp_path):
    trainer = Looking(tmp_path / "q.csv")
    trainer.query.write_text("1.png,lemon\n")
    before = look(trainer)
    trainer.query = tmp_path / f"{300 * 'x'}.csv"
    with pytest.raises(OSError, match="too long"):  # like one of a closed folder
        trainer.query.exists()
    assert look(trainer) == before
    assert trainer.looks == 1


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_run_that_may_only_be_read_is_looked_up(facts, is_kept):
    with tempfile.TemporaryDirectory() as scratch:  # below no folder that is root's alone
        folder = Path(scratch)
        folder.chmod(0o755)
        look, trainer = look_below(folder, facts), Looking(folder / "q.csv")
        trainer.query.write_text("1.png,lemon\n")
        before, looks = look(trainer), folder / "run" / "evaluations" / "looks"
        explained = json.loads((looks / "0000.json").read_text())
        del explained["sources"]  # as an earlier release keeps it
        (looks / "0000.json").write_text(json.dumps(explained))
        if not is_kept:
            (looks / "0000.json").unlink()
        looks.chmod(0o555)
        with as_nobody():
            assert look(trainer) == before
        assert trainer.looks == (1 if is_kept else 2)
        looks.chmod(0o755)
        assert look(trainer) == before
        assert trainer.looks == (2 if is_kept else 3), "made anew where it can be kept"
        assert look(trainer) == before
        assert trainer.looks == (2 if is_kept else 3)


def test_a_list_whose_labels_were_corrected_is_looked_up_again(look, tmp_path):
    """Far behind its beginning, and by as many bytes."""
    trainer = Looking(tmp_path / "q.csv")
    rows = [f"{i:01000d}.png,pear\n" for i in range(70)]
    for name in ("pear", "plum"):
        trainer.query.write_text("".join([*rows, f"last.png,{name}\n"]))
        os.utime(trainer.query, (0, trainer.looks))
        for _ in range(2):
            assert look(trainer, False)["last.png"] == name
    assert trainer.looks == 2


@pytest.mark.parametrize("splits", [True, False])
def test_a_list_of_which_the_search_has_rows_of_its_own_is_told_once_corrected(
    facts, tmp_path, caplog, splits
):
    rows = [
        (f"{n}.png", ("pear", "plum")[n % 2], ("train", "gallery", "val")[n % 3]) for n in range(60)
    ]
    for path, *_ in rows:
        Image.new("RGB", (8, 8)).save(tmp_path / path)
    heads = ("path", "label", "split")[: 2 + splits]
    list_file = tmp_path / "shots.csv"
    list_file.write_text("\n".join(",".join(row[: len(heads)]) for row in (heads, *rows)))
    data = DataSources(folder=str(list_file))
    study = replace(facts.study, data=data)
    os.utime(list_file, (time.time() + 600,) * 2)  # of a server whose clock is ahead
    sources, run = resolve_sources(study, TRAINER), RunDir(tmp_path / "run")
    plan = replace(facts.plan, sources=sources, written=describe_written(study))
    own = replace(facts, study=study, plan=plan, run=run)
    executor = InProcessExecutor(NAME)
    caplog.clear()
    mistakes.look(own, own.best, executor, with_map=True)
    assert caplog.text == ""
    list_file.write_text(list_file.read_text().replace("2.png,pear", "2.png,plum"))
    os.utime(list_file, (time.time() + 300,) * 2)
    for trial, count in ((own.best, 1), (own.trials[0], 0)):
        caplog.clear()
        mistakes.look(own, trial, executor, with_map=True)
        said = f"{list_file} was written after the search had begun, which keeps what it took"
        assert caplog.text.count(said) == count
    moved = replace(own, plan=with_sources(study, own.plan, TRAINER))  # as a resume takes them
    caplog.clear()
    mistakes.look(moved, moved.best, executor, with_map=True)
    assert caplog.text == "", "a resume took its rows from the list as it is now"
    given = replace(own, plan=replace(own.plan, sources={**sources, "train": str(list_file)}))
    caplog.clear()
    mistakes.look(given, given.best, executor, with_map=True)
    assert caplog.text == "", "a list that is used itself is looked at again"


def test_a_list_of_a_file_address_is_looked_up_again_too(look, tmp_path):
    """As the plans of earlier releases hold it."""
    trainer = Looking(tmp_path / "q.csv")
    for name in ("pear", "plum"):
        trainer.query.write_text(f"1.png,{name}\n")
        for _ in range(2):
            assert look(trainer, scheme="file://") == {"1.png": name}
    assert trainer.looks == 2


def test_counts_of_confusions():
    rows = [
        {"class": a, "hit": a == b, "nearest": {"class": b}}
        for a, b in ["xx", "xy", "xy", "xz", "yy", "yx"]
    ]
    assert mistakes.per_class(rows) == ({"x": 0.25, "y": 0.5}, {"x": 4, "y": 2})
    assert mistakes.confusions(rows) == [("x", "y", 2), ("x", "z", 1), ("y", "x", 1)]


def test_the_clearest_mistakes_come_first():
    rows = [
        {
            "path": f"{i}",
            "class": "x",
            "hit": False,
            "nearest": {"class": other, "distance": 0.5},
            "own": {"distance": own},
        }
        for i, (other, own) in enumerate([("y", 0.6), ("y", 1.5), ("y", 0.9), ("z", 0.7)])
    ]
    assert [row["path"] for row in mistakes.worst_misses(rows, 4)] == ["1", "2", "3"]
