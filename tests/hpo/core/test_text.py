import ast
import itertools
import re
import shlex
from pathlib import Path

import pytest

from hpo.core.text import (
    absolute_path,
    markdown_table,
    method_words,
    metric_word,
    nearest_path,
    one_line,
    percent,
    printable,
    shell_word,
    storable,
    told_apart,
)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("val_precision_at_1", "P@1"),
        ("precision_at_1", "P@1"),
        ("val Precision@1", "P@1"),
        ("", "P@1"),
        ("val_precision_at_10", "val_precision_at_10"),
        ("val_map_at_r", "val_map_at_r"),
        ("loss", "loss"),
    ],
)
def test_only_precision_at_one_has_a_short_name(name, word):
    assert metric_word(name) == word


@pytest.mark.parametrize(
    ("names", "reason", "words"),
    [
        (("tpe", "none"), "tpe: cheap; no pruning: 2 epochs", "tpe: cheap; no pruning: 2 epochs"),
        (("bfbo", "asha"), "", "bfbo + asha"),
        (("random", "none"), "short", "random; short"),
        (
            ("mfbo", "asha"),
            "mfbo: a model; asha: from epoch 2",
            "mfbo: a model; asha: from epoch 2",
        ),
        (("dehb", "asha"), "asha: from epoch 2", "dehb; asha: from epoch 2"),
    ],
)
def test_method_names_each_of_its_parts_once(names, reason, words):
    assert method_words(*names, reason) == words


def test_paths_of_any_bytes_are_one_line_that_can_be_printed_and_stored():
    path = "/srv/caf\udce9\x1b[1m/new\nline é 梨"
    assert one_line(f"{path}:\n no such file") == r"/srv/caf\xe9\x1b[1m/new line é 梨: no such file"
    assert printable(path) == r"/srv/caf\xe9\x1b[1m/new\x0aline é 梨"
    assert storable(path) == "/srv/caf\\xe9\x1b[1m/new\nline é 梨"
    storable(path).encode()


ROOT = Path(__file__).resolve().parents[3]
_COMMAND = re.compile(r"\b(hpo|ml_recog) [a-z]+( [a-z_]+)?( -[-a-z]+)? $|resume [\w.]+=$")
_IDS = {"job.id", "args.job_id", "action", "args.action", "name", "verb", "self.id", "row['id']"}
"""What is one word of a shell by itself."""


def test_paths_in_commands_are_words_of_a_shell():
    bare = []
    for package in ("hpo", "trainer"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                parts = node.values if isinstance(node, ast.JoinedStr) else []
                for before, value in itertools.pairwise(parts):
                    text = before.value if isinstance(before, ast.Constant) else ""
                    if _COMMAND.search(str(text)) and isinstance(value, ast.FormattedValue):
                        shown = ast.unparse(value.value)
                        is_word = re.search(r"shell_word\b|shlex\.", shown) or shown in _IDS
                        bare += [] if is_word or _is_word(file, shown) else [(file.name, shown)]
    assert bare == []


def _is_word(file, name):
    """Whether a variable of a file holds what was made a word before."""
    return re.search(
        rf"\b{re.escape(name)}(, \w+)? = (shell_word|shlex\.quote)\(", file.read_text()
    )


def test_a_path_with_spaces_is_one_word():
    path = Path("/data/my runs/it's") / "a;b"
    assert shlex.split(f"hpo resume {shell_word(path)}") == ["hpo", "resume", str(path)]
    assert shell_word("/data/runs") == "/data/runs"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("train", "train.tar.gz"), ("refrence", "reference"), ("zebra", ""), ("nowhere/x", "")],
)
def test_nearest_path(tmp_path, name, hint):
    (tmp_path / "train.tar.gz").touch()
    (tmp_path / "reference").mkdir()
    told = nearest_path(tmp_path / name)
    assert told == (f"; did you mean '{tmp_path / hint}'?" if hint else "")


def test_an_absolute_path_follows_the_links_above_a_file_and_keeps_its_own_name(
    tmp_path, monkeypatch
):
    """As a hub's cache has them: `snapshots/<revision>/model.safetensors -> ../../blobs/<sum>`."""
    for folder in ("blobs", "snapshots/1a2b", "v3"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "blobs/3f2a").write_text("x")
    (tmp_path / "snapshots/1a2b/m.safetensors").symlink_to("../../blobs/3f2a")
    (tmp_path / "current").symlink_to("v3")
    (tmp_path / "v3/list.csv").symlink_to(tmp_path / "blobs/3f2a")
    (tmp_path / "dead.csv").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path / "v3")
    monkeypatch.setenv("HOME", str(tmp_path))
    for text, wanted in {
        "../snapshots/1a2b/m.safetensors": "snapshots/1a2b/m.safetensors",
        "~/current/list.csv": "v3/list.csv", "list.csv": "v3/list.csv",
        f"{tmp_path}/current": "v3", "../current/..": "", "none.csv": "v3/none.csv",
        "../dead.csv": "nowhere", f"{'x' * 300}.csv": f"v3/{'x' * 300}.csv",
    }.items():  # fmt: skip
        assert absolute_path(text) == tmp_path / wanted
    assert absolute_path("list.csv", tmp_path / "current") == tmp_path / "v3/list.csv"


@pytest.mark.parametrize("is_aligned", [False, True])
def test_a_cell_of_a_table_stays_one_cell(is_aligned):
    rows = [["a|b", "two\nlines", ""], [0.5, None, "||"]]
    lines = markdown_table(["name", "x | y", ""], rows, is_aligned=is_aligned)
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    head, rule, *table = [[c.replace(r"\|", "|") for c in row] for row in cells]
    assert head == ["name", "x | y", ""]
    assert all(re.fullmatch("---+", c) for c in rule)
    assert table == [["a|b", "two lines", ""], ["0.5", "None", "||"]]
    assert is_aligned == (len(set(map(len, lines))) == 1)


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [(9.25, 5, ("9.25", "5")), (5.0004, 5, ("5.0004", "5")), (0.0011, 0.001, ("0.0011", "0.001")),
     (5.0, 5.0, ("5", "5")), (1.0, 1.0 + 2**-52, ("1", "1.0000000000000002"))],
)  # fmt: skip
def test_two_numbers_that_differ_are_told_apart(a, b, told):
    assert tuple(str(float(text)).removesuffix(".0") for text in told_apart(a, b)) == told


def test_a_small_share_is_not_nothing():
    shares = (0, 0.00042, 0.004, 0.05, 0.284, 1)
    assert [percent(share) for share in shares] == ["0%", "0.04%", "0.4%", "5%", "28%", "100%"]
