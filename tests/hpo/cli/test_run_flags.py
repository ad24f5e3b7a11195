import argparse
import json

from hpo.cli.run_flags import (
    add_json_argument,
    add_out_argument,
    add_run_argument,
    print_json,
    print_table,
)


def test_the_three_shared_flags():
    parser = argparse.ArgumentParser()
    add_run_argument(parser)
    args = parser.parse_args([])
    assert (args.run_name, args.out, args.json) == (None, "runs", False)
    args = parser.parse_args(["retail", "--out", "o", "--json"])
    assert (args.run_name, args.out, args.json) == ("retail", "o", True)


def test_they_can_be_had_one_by_one():
    parser = argparse.ArgumentParser()
    add_out_argument(parser)
    add_json_argument(parser)
    assert vars(parser.parse_args([])) == {"out": "runs", "json": False}


def test_json_takes_what_has_a_text_form(capsys, tmp_path):
    print_json({"path": tmp_path, "n": [1, 2.5, None]})
    assert json.loads(capsys.readouterr().out) == {"path": str(tmp_path), "n": [1, 2.5, None]}


def test_numbers_stand_right_and_words_left(capsys):
    print_table(["NAME", "N", ""], [["a", "5", "note"], ["longer", "1000", ""]])
    assert capsys.readouterr().out == (
        "NAME    N\n"
        "a          5  note\n"
        "longer  1000\n"
    )  # fmt: skip
