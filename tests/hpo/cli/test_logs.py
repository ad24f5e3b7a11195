import pytest


def test_the_log_of_a_trial(hpo, json_of, first):
    code, out, err = hpo("logs", "first", 1)
    assert (code, err) == (0, "")
    assert "trial 1 failed" in out
    assert out.splitlines()[-1] == "RuntimeError: the loss exploded on purpose"
    said = json_of("logs", "first", 1)
    assert said == {
        "trial": 1, "log": str(first / "trials/0001/log.txt"), "lines": out.splitlines(),
    }  # fmt: skip


def test_only_the_end_of_it(hpo, first):
    whole = hpo("logs", "first", 1)[1].splitlines()
    assert hpo("logs", "first", 1, "--tail", 2)[1].splitlines() == whole[-2:]
    assert hpo("logs", "first", 1, "--tail", 999)[1].splitlines() == whole


def test_the_newest_run_needs_no_name(hpo, second):
    assert "trains 0000" in hpo("logs", 0)[1]
    assert hpo("logs", 0)[1] == hpo("logs", ".", 0)[1]


def test_bytes_that_are_no_text_are_shown_as_they_can(hpo, first):
    (first / "trials/0001/log.txt").write_bytes(b"ok \xff\n")
    assert hpo("logs", "first", 1)[1] == "ok \ufffd\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("first", 9), "trial 9 has no log; `hpo status` lists the trials"),
        (("first", 1, "--tail", 0), "--tail: must be at least 1, got 0"),
        (("first", 1, "--tail", -3), "--tail: must be at least 1, got -3"),
        (("third", 1), "no run 'third'"),
    ],
)
def test_what_is_not_there(fails, runs, argv, said):
    assert said in fails("logs", *argv)
