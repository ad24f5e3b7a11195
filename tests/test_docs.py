"""Pages hold what they promise: links lead somewhere, commands are understood."""

import re
import shlex
from pathlib import Path

import pytest

from hpo.cli.main import VERBS, build_parser

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("studies/**/*.md")]
    if path.name != "LICENSE"
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ACTIONS = ("train", "evaluate", "inference", "export", "gen_trt_engine")


def names(path):
    return str(path.relative_to(ROOT))


def commands(text):
    """Every command of the shell blocks, continuation lines joined, comments cut off."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                if words and Path(words[0]).name in ("hpo", "ml_recog"):
                    found.append([Path(words[0]).name, *words[1:]])
    return found


ALL = [(page, command) for page in PAGES for command in commands(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if "://" in target or target.startswith("#"):
            continue
        assert (page.parent / target.split("#")[0]).exists(), target


def test_there_are_commands():
    assert len(ALL) > 30
    assert {command[1] for _, command in ALL if command[0] == "hpo"} <= {*VERBS, "--version"}


@pytest.mark.parametrize(
    ("page", "command"),
    ALL,
    ids=[f"{names(page)}: {shlex.join(words)}"[:90] for page, words in ALL],
)
def test_commands_are_understood(page, command, capsys):
    if command[0] == "ml_recog":
        assert command[1] in ACTIONS
        assert "-e" in command
        assert all(
            "=" in word or word.startswith("-") or command[i - 1] == "-e"
            for i, word in enumerate(command[2:], 2)
        )
        return
    words = [word.strip("[]") for word in command[1:]]
    try:
        build_parser(words[0]).parse_args(words)
    except SystemExit as end:
        assert end.code == 0, capsys.readouterr().err


def test_each_step_of_a_value_in_the_tour_is_a_module():
    """Four values are followed, and each line of their tables begins with the file it speaks of."""
    text = (ROOT / "docs" / "tour.md").read_text().partition("## Four values")[2]
    tables = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    steps = [re.findall(r"^\| \[.*?\]\(\.\./(\S+\.py)\)", table, re.MULTILINE) for table in tables]
    assert [len(paths) for paths in steps] == [table.count("\n|") - 1 for table in tables]
    assert len(tables) == 4
    assert [path for paths in steps for path in paths if not (ROOT / path).is_file()] == []


def test_the_map_names_every_package():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    packages = [f"hpo/{path.name}/" for path in sorted((ROOT / "hpo").iterdir()) if path.is_dir()]
    packages += ["search_spaces/", "trainer/", "studies/", "tests/", "hpo/api.py"]
    assert len(packages) > 20
    assert [name for name in packages if name not in page and "__pycache__" not in name] == []
