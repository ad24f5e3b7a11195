"""Messages of wrong flags, against the ones that argparse really makes on this Python."""

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


def test_what_follows_two_dashes_is_no_flag():
    words = ["predict", "retail", "--topk", "3", "--", "-odd.jpg", "--json"]
    args = build_parser("predict").parse_whole(words)
    assert (args.words, args.topk, args.json) == (["retail", "-odd.jpg", "--json"], 3, False)


def test_words_too_many_are_still_refused(capsys):
    with pytest.raises(SystemExit):
        build_parser("why").parse_whole(["why", "retail", "--json", "7", "8"])
    assert capsys.readouterr().err.startswith("hpo why: 8: more than can be taken")
