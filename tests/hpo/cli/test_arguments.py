"""Messages of wrong flags, against the ones that argparse really makes on this Python."""

import argparse
import shlex

import pytest

from hpo.cli.arguments import Parser
from hpo.cli.main import VERBS, build_parser


def parser():
    made = Parser(prog="hpo toy")
    made.add_argument("run")
    made.add_argument("--trials", type=int)
    made.add_argument("--share", type=float)
    made.add_argument("--kind", choices=["tpe", "random", "asha", "bohb", "dehb", "pbt"])
    made.add_argument("--mode", choices=["on", "off"])
    both = made.add_mutually_exclusive_group()
    both.add_argument("--study")
    both.add_argument("--schema")
    return made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["r", "--trials", "many"], "--trials: must be a whole number, got 'many';"),
        (["r", "--share", "half"], "--share: must be a number, got 'half';"),
        (["r", "--trials"], "--trials: needs a value, got none; one that begins with - is written --trials=-1;"),
        (["r", "--kind", "tpee"], "--kind: there is no 'tpee'; did you mean 'tpe'?"),
        (["r", "--mode", "maybe"], "--mode: must be one of on, off, got 'maybe';"),
        ([], "run: must be given, got nothing;"),
        (["r", "--study", "a", "--schema", "b"], "--schema: cannot stand beside --study; leave one of them out;"),
        (["r", "--trails", "3"], "--trails: no such flag; did you mean '--trials'?"),
        (["r", "two", "words"], "two words: more than can be taken; put text with spaces in quotes;"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_one_line_with_what_to_do(capsys, words, said):
    with pytest.raises(SystemExit) as caught:
        parser().parse_whole(words)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"hpo toy: {said} `hpo toy --help` lists what can be given"


@pytest.mark.parametrize("spelt", [repr, str])
def test_the_choices_are_named_however_a_release_of_python_spells_them(monkeypatch, capsys, spelt):
    """Python 3.12.8 to 3.14 leave the quotes out of argparse's own sentence."""

    def check(_self, action, value):
        if action.choices is not None and value not in action.choices:
            known = ", ".join(map(spelt, action.choices))
            told = f"invalid choice: {value!r} (choose from {known})"
            raise argparse.ArgumentError(action, told)

    monkeypatch.setattr(argparse.ArgumentParser, "_check_value", check)
    for words, said in (
        (["r", "--mode", "maybe"], "--mode: must be one of on, off, got 'maybe'; "),
        (["r", "--kind", "tpee"], "--kind: there is no 'tpee'; did you mean 'tpe'?"),
    ):
        with pytest.raises(SystemExit):
            parser().parse_whole(words)
        assert capsys.readouterr().err.startswith(f"hpo toy: {said}")


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "retail", "--topk", "3", "a.jpg", "b.jpg"],
        ["predict", "--topk", "3", "retail", "a.jpg", "--json", "b.jpg"],
        ["why", "retail", "--out", "elsewhere", "7"],
        ["report", "one", "--out", "elsewhere", "two"],
        ["--debug", "cache", "clear", "--json", "one", "two"],
        ["job", "--root", "there", "logs", "--skill-dir", "x", "train-1"],
        ["search", "--budget", "3", "shelf.yaml", "--set", "a.b=1"],
    ],
)
def test_flags_may_stand_between_words(words):
    """The same is read as where all flags come last."""
    parser = build_parser(None)
    verbs = [action for action in parser._actions if action.dest == "verb"]
    known = verbs[0].choices[next(word for word in words if word in VERBS)]
    takes = [flag for a in known._actions if a.nargs != 0 for flag in a.option_strings]
    flags, others, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        is_flag = word.startswith("--") and word != "--debug"
        (flags if is_flag else others).append(word)
        if is_flag and word in takes:
            flags.append(rest.pop(0))
    assert parser.parse_whole(words) == parser.parse_whole(others + flags)


FLAGS = [
    (verb, action.option_strings[-1])
    for verb, known in next(
        action for action in build_parser(None)._actions if action.dest == "verb"
    ).choices.items()
    for action in known._actions
    if action.option_strings and action.nargs != 0
]


@pytest.mark.parametrize(("verb", "flag"), FLAGS)
def test_no_flag_takes_an_empty_value(verb, flag, capsys):
    """A shell's variable that is not set must not stand for the default."""
    with pytest.raises(SystemExit) as caught:
        build_parser(verb).parse_whole([verb, flag, ""])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"hpo {verb}: {flag}: needs a value, got an empty")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("search --budget 2 --budget 3h", "--budget: is given twice, with 2 and 3h;"),
        ("plan --seed 1 x.yaml --seed 2", "--seed: is given twice, with 1 and 2;"),
        ("why runs --out a 3 --out b", "--out: is given twice, with a and b;"),
        ("automl --policy on --policy off", "--policy: is given twice, with on and off;"),
        ("automl --skill-dir s --metric x", "--metric: no such flag"),
        ("cache --older 7d clear", "--older: no such flag; did you mean '--older-than'?"),
        ("serve --yes", "--yes: no such flag; did you mean '--yes-expose'?"),
        ("use --no retail", "--no: no such flag; did you mean '--none'?"),
        ("search --memory --no-memory", "--no-memory: cannot stand beside --memory; leave one"),
        ("search --no-average --budget 3 --average", "--no-average: cannot stand beside --average"),
        ("status -- -a -b", "-b: more than can be taken"),
        ("screen -- -a --weights", "--weights: more than can be taken"),
        ("predict -- --", "--: is given twice; a file of that name is written ./--"),
        ("cache --older-than 7d --yess clear", "--yess: no such flag; did you mean '--yes'?"),
        ("predict run '' a.jpg", "[RUN] IMAGE: needs a value, got an empty one"),
        ("status ''", "RUN: needs a value, got an empty one"),
    ],
)
def test_what_would_be_dropped_is_refused(words, said, capsys):
    verb, *rest = shlex.split(words)
    with pytest.raises(SystemExit) as caught:
        build_parser(verb).parse_whole([verb, *rest])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"hpo {verb}: {said}")


def test_the_same_twice_and_flags_that_may_repeat_are_taken():
    words = ["plan", "--seed", "1", "--seed", "1", "--set", "a=1", "--set", "b=2"]
    args = build_parser("plan").parse_whole(words)
    assert (args.seed, args.set) == (1, ["a=1", "b=2"])
    again = build_parser("plan").parse_whole(["plan", "--seed", "2"])
    assert again.seed == 2


@pytest.mark.parametrize("before", [["retail", "--topk", "3"], ["--topk", "3"], ["retail"], []])
def test_what_follows_two_dashes_is_no_flag(before):
    words = ["predict", *before, "--", "-odd.jpg", "--json"]
    args = build_parser("predict").parse_whole(words)
    named = [word for word in before if word == "retail"]
    assert (args.words, args.json) == ([*named, "-odd.jpg", "--json"], False)
    assert args.topk == (3 if "3" in before else None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--json ls", "hpo: --json: stands after the verb, as in `hpo ls --json`;"),
        ("--debug --out=x ls", "hpo: --out: stands after the verb, as in `hpo ls --out`;"),
        ("--out x ls", "hpo: --out: stands after the verb, as in `hpo ls --out`;"),
        ("--jsn ls", "hpo: --jsn: no such flag; did you mean '--json'?"),
        ("--vers", "hpo: --vers: no such flag; did you mean '--version'?"),
    ],
)
def test_flags_before_the_verb(words, said, capsys):
    with pytest.raises(SystemExit) as caught:
        build_parser("ls").parse_whole(words.split())
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(said)


NO_PATHS = {
    "A", "ADDRESS", "ACTION", "AGE", "B", "CLASS", "GROUP", "H", "ID", "K", "KEY=VALUE", "MB",
    "MINUTES", "N", "NAME", "NAME=A,B,C", "NAME=LOW..HIGH[,log|,linear]", "NAME=VALUE", "NAMES",
    "OLD=NEW", "P", "PX", "RATE", "S", "SHARE", "SHELL", "SIZE", "T", "TEXT", "TIME", "TRIAL",
    "WHAT", "WHICH", None,
}  # fmt: skip


def test_the_home_folder_is_meant_by_a_tilde_in_every_path(monkeypatch):
    """A shell leaves it as it is after `=` and in quotes."""
    monkeypatch.setenv("HOME", "/home/ada")
    verbs = next(a for a in build_parser(None)._actions if a.dest == "verb").choices
    checked = set()
    for verb, known in verbs.items():
        for action in known._actions:
            if action.nargs != 0 and action.metavar not in NO_PATHS:
                known._given = {}
                value = known._get_values(action, ["~/x"])
                assert value in ("/home/ada/x", ["/home/ada/x"]), (verb, action.dest)
                checked.add((verb, action.dest))
    args = build_parser("predict").parse_whole(["predict", "@~/more.txt", "s3://b/~/x", "~"])
    assert args.words == ["@/home/ada/more.txt", "s3://b/~/x", "/home/ada"]
    assert checked >= {
        ("export", "file"), ("export", "out"), ("report", "to"), ("predict", "sheet"),
        ("predict", "words"), ("job", "root"), ("screen", "plot"), ("space", "plot"),
        ("automl", "workspace"), ("init", "file"), ("use", "run_name"),
    }  # fmt: skip


def test_words_too_many_are_still_refused(capsys):
    with pytest.raises(SystemExit):
        build_parser("why").parse_whole(["why", "retail", "--json", "7", "8"])
    assert capsys.readouterr().err.startswith("hpo why: 8: more than can be taken")
