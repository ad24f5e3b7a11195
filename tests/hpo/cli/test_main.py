"""Help, versions, exit codes, and that asking costs next to nothing."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hpo.cli.main import VERBS, main
from tests.quick_cli import write_study
from tests.quick_trainer import QuickTrainer

HEAVY = ("torch", "ray", "optuna", "mlflow", "numpy", "sqlalchemy", "jsonschema", "rich")


def imported(*argv):
    """Which heavy modules a call of `hpo` has imported by its end."""
    code = (
        "import sys\nfrom hpo.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"print('|', *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True
    )
    return said.stdout.rpartition("|")[2].split()


def test_help_imports_argparse_and_little_more():
    assert imported("--help") == []
    assert imported("search", "--help") == []


def test_looking_at_runs_imports_nothing_heavy(tmp_path):
    assert imported("ls", "--out", str(tmp_path)) == []


def test_help_names_every_verb(hpo):
    code, out, err = hpo("--help")
    assert (code, err) == (0, "")
    for verb in VERBS:
        assert f"\n    {verb} " in out
    assert "exit codes: 0 done" in out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(hpo, verb):
    code, out, err = hpo(verb, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: hpo {verb} ")
    assert "--json" in out or verb in ("ui", "completion")


def test_without_a_verb_there_is_help(hpo):
    code, out, _ = hpo()
    assert code == 0
    assert out.startswith("usage: hpo ")


def test_versions(hpo):
    code, out, _ = hpo("--version")
    assert code == 0
    first, *rest = out.splitlines()
    assert first.startswith("hpo 0.")
    assert {line.split()[0] for line in rest} >= {"optuna", "ray", "torch", "timm"}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("serach",), "there is no 'serach'; did you mean 'search'?"),
        (("search", "--buget", "5"), "--buget: no such flag; did you mean '--budget'?"),
        (("search", "--concurrent", "two"), "--concurrent: must be a whole number, got 'two'"),
        (("search", "--seed", "1.5"), "--seed: must be a whole number"),
        (("search", "a.yaml", "b.yaml"), "b.yaml: more than can be taken"),
        (("logs",), "TRIAL: must be given"),
        (("logs", "one"), "TRIAL: must be a whole number, got 'one'"),
        (("predict",), "[RUN] IMAGE: must be given"),
        (("export", "--trial", "best"), "--trial: must be a whole number, got 'best'"),
    ],
)
def test_wrong_arguments_are_one_line(fails, argv, said):
    line = fails(*argv)
    assert said in line
    assert "--help` lists what can be given" in line


def test_debug_shows_the_traceback_of_a_users_error(tmp_path, monkeypatch):
    from hpo.core.errors import RunError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError):
        main(["--debug", "status"])


def test_a_bug_is_a_traceback_and_exit_code_1(tmp_path):
    (tmp_path / "broken_trainer.py").write_text("1 / 0\n")
    (tmp_path / "s.yaml").write_text("schema_version: 1\ntrainer: broken_trainer:TRAINER\n")
    from tests.quick_cli import call, events_of

    code, out, err = call(
        tmp_path,
        "search",
        "s.yaml",
        "--json",
        PYTHONPATH=f"{tmp_path}:{':'.join(sys.path)}",
        HPO_TRAINER_MODULES="broken_trainer",
    )
    assert code == 1
    assert err.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert [event["event"] for event in events_of(out)] == ["error"]


def test_a_reader_that_goes_away_is_no_error(runs):
    code = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-m', 'hpo.cli.main', 'status', '--json'],"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n"
        "p.stdout.close()\n"
        "print(p.wait(), p.stderr.read())\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=runs.parent, env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == "0 b''\n"


class Ending(QuickTrainer):
    """Ends the program where the pictures are looked at, as `data.train` says."""

    def inspect_data(self, spec):
        how = Path(spec["data"]["train"]).name
        if how == "exit":
            sys.exit(0)
        signal.raise_signal(getattr(signal, how))


ENDING = Ending()


@pytest.fixture
def ends(hpo, tmp_path, monkeypatch):
    """What comes of a verb in which the trainer ends the program in one way."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def call(how):
        study = write_study(tmp_path, f"data: {{train: {how}, reference: r, query: q}}\n")
        study.write_text(
            study.read_text().replace("tests.quick_trainer:TRAINER", f"{__name__}:ENDING")
        )
        found = hpo("plan", study, "--budget", 2, "--in-process")
        assert not list((tmp_path / "temporary").glob("hpo-plan-*"))
        return found

    return call


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_end_any_verb_as_ctrl_c_does(ends, name):
    before = signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        assert ends(name) == (130, "", "")
    finally:
        signal.signal(getattr(signal, name), before)


def test_a_trainer_that_exits_is_told(ends):
    said = "sys.exit(0) was called, as by a trainer that is to return or raise; --debug shows where"
    assert ends("exit") == (2, "", f"hpo plan: {said}\n")
