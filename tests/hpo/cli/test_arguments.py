"""Messages of wrong flags, against the ones that argparse really makes on this Python."""

import pytest

from hpo.cli.arguments import Parser


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
