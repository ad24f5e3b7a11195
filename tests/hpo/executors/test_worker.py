import contextlib
import logging
import sys
import threading
from dataclasses import replace

import pytest

from hpo.core.errors import SpecError
from hpo.core.trial import FAILURE_KINDS, Launch
from hpo.executors.worker import call_method, describe_failure, run_launch, trial_log
from tests.quick_trainer import NAME, TRAINER
from tests.staged_trainer import NAME as STAGED
from tests.staged_trainer import TRAINER as STAGED_TRAINER
from tests.telling_trainer import NAME as TELLING


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


class TroubleError(Exception):
    def __init__(self, kind):
        super().__init__("trouble")
        self.kind = kind


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RuntimeError("shapes differ\nlong story"), "code", "RuntimeError: shapes differ"),
        (KeyError("x"), "code", "KeyError: 'x'"),
        (ValueError(), "code", "ValueError: ValueError"),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (OutOfMemoryError("CUDA out of memory"), "out_of_memory", "CUDA out of memory"),
        (
            FileNotFoundError(2, "No such file", "/a"),
            "data",
            "/a: No such file; see that it is there",
        ),
        (PermissionError("no"), "data", "no"),
        (
            OSError(5, "I/O error"),
            "infrastructure",
            "I/O error; see that the disk is mounted and answers",
        ),
        (ConnectionResetError("gone"), "infrastructure", "gone"),
        (TroubleError("credential"), "credential", "trouble"),
        (TroubleError("no such kind"), "code", "TroubleError: trouble"),
        (TroubleError(None), "code", "TroubleError: trouble"),
    ],
)
def test_errors_get_a_kind_and_one_line(error, kind, message):
    assert describe_failure(error) == {"kind": kind, "message": message}
    assert kind in FAILURE_KINDS


def test_messages_are_kept_short():
    assert len(describe_failure(ValueError("x" * 10_000))["message"]) == 500


def test_all_that_a_trial_says_is_in_its_log(tmp_path, capfd):
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    out = sys.stdout
    with trial_log(tmp_path / "new"):
        print("printed")
        print("complained", file=sys.stderr)
        logging.getLogger("some.trainer").info("logged %d", 5)
    text = (tmp_path / "new/log.txt").read_text()
    for word in ("printed", "complained", "INFO some.trainer: logged 5"):
        assert word in text
    assert (list(root.handlers), root.level, sys.stdout) == (*before, out)
    assert capfd.readouterr() == ("", "")


def test_what_a_trial_logs_is_nowhere_else_but_the_harness_is_heard(tmp_path, caplog):
    def say(name):
        logging.getLogger(name).warning("from %s", name)

    with caplog.at_level(logging.INFO):
        with trial_log(tmp_path):
            logging.getLogger("some.trainer").info("quiet")
            say("hpo.searching.engine")
            beside = threading.Thread(target=say, args=("beside",))
            beside.start()
            beside.join()
        say("afterwards")
    assert [r.getMessage() for r in caplog.records] == [
        "from hpo.searching.engine", "from beside", "from afterwards",
    ]  # fmt: skip
    assert "quiet" in (tmp_path / "log.txt").read_text()


def test_the_log_is_closed_and_kept_after_an_error(tmp_path):
    root = logging.getLogger()
    before = list(root.handlers)
    for word in ("first", "second"):
        with contextlib.suppress(ZeroDivisionError), trial_log(tmp_path):
            print(word)
            _ = 1 / 0
    assert root.handlers == before
    assert (tmp_path / "log.txt").read_text() == "first\nsecond\n"


def launch(folder, **spec):
    full = TRAINER.validate({"results_dir": str(folder / "0003"), **spec})
    return Launch(number=3, spec=full, folder=str(folder / "0003"))


def run_trial(name, alone, report, *show):
    """The outcome of a launch of one trial."""
    outcomes = run_launch(name, alone, lambda _number, payload: report(payload), *show)
    assert list(outcomes) == [alone.number]
    return outcomes[alone.number]


def test_a_trial_returns_its_receipt(tmp_path):
    epochs = []
    outcome = run_trial(NAME, launch(tmp_path), lambda p: epochs.append(p["epoch"]) or True)
    assert epochs == list(range(1, 10))
    assert outcome == {
        "receipt": {
            "applied": {"train.lr": 0.001, "train.margin": 0.3, "train.width": 64}, "device": "cpu",
        }
    }  # fmt: skip


def test_what_is_done_before_the_first_epoch_is_told_now_and_then(tmp_path, monkeypatch):
    """Of twenty head epochs at once the first alone, but every new word."""
    told = []
    outcome = run_trial(TELLING, launch(tmp_path), lambda _: True, lambda *what: told.append(what))
    assert outcome["receipt"]["applied"]
    assert told == [(3, "head epochs 1/20"), (3, "looking around"), (3, "")]
    monkeypatch.setattr("hpo.executors.worker.PROGRESS_EVERY_S", 0.0)
    run_trial(TELLING, launch(tmp_path), lambda _: True, lambda *what: told.append(what))
    assert told[3:23] == [(3, f"head epochs {done}/20") for done in range(1, 21)]


def test_a_batch_tells_by_its_first_trial(tmp_path):
    told = []
    run_launch(TELLING, batch(tmp_path, 0.2, 0.6), lambda *_: True, lambda *what: told.append(what))
    assert told == [(4, "computing features 64/128")]


def test_a_raising_trainer_is_a_failure_with_its_traceback_in_the_log(tmp_path):
    failing = launch(tmp_path, fault={"kind": "raise", "trial": 3, "epoch": 2})
    outcome = run_trial(NAME, failing, lambda _: True)
    assert outcome == {
        "failure": {"kind": "code", "message": "RuntimeError: the loss exploded on purpose"}
    }
    log = (tmp_path / "0003/log.txt").read_text()
    assert "trial 3 failed" in log
    assert "Traceback" in log
    assert "in _fail" in log


class Odd(type(STAGED_TRAINER)):
    """Reports and returns what the spec's `fault.kind` says, which is not to be."""

    def fit(self, spec, report, resume_from=None, start_epoch=None):
        if spec["fault"]["kind"] == "line":
            report({"epoch": 1, "value": 0.5, "seconds": "x"})
        return "fitted"

    def fit_heads(self, specs, report, progress=None):
        return [{"applied": None}, "fitted"]


ODD = Odd()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("line", "report: seconds: must be a number, got 'x'"),
        ("", "receipt: must be a mapping, and its `applied` too, got 'fitted'"),
    ],
)
def test_an_odd_report_is_the_failure_of_its_trial(tmp_path, kind, says):
    found = run_trial(f"{__name__}:ODD", launch(tmp_path, fault={"kind": kind}), lambda _: True)
    assert found == {"failure": {"kind": "code", "message": f"ReportError: {says}"}}


def test_a_batch_of_too_few_receipts_has_failed(tmp_path):
    found = run_launch(f"{__name__}:ODD", batch(tmp_path, 0.2, 0.6, 0.7), lambda *_: True)
    says = "ReportError: fit_heads: must return 3 receipts, got 2"
    assert [found[number]["failure"]["message"] for number in (4, 5, 6)] == [says] * 3


def test_an_odd_receipt_of_a_batch_is_the_failure_of_its_trial(tmp_path):
    found = run_launch(f"{__name__}:ODD", batch(tmp_path, 0.2, 0.6), lambda *_: True)
    assert found[4] == {"receipt": {"applied": None}}
    assert found[5]["failure"]["message"].startswith("ReportError: receipt: must be a mapping")


@pytest.mark.parametrize("code", [0, 3, None, "done"])
def test_a_trainer_that_exits_has_failed(tmp_path, code):
    def leave(_payload):
        sys.exit(code)

    failure = run_trial(NAME, launch(tmp_path), leave)["failure"]
    said = f"the trainer called sys.exit({code!r}); have it return, or raise what went wrong"
    assert failure == {"kind": "code", "message": f"TrainerExitError: {said}"}
    assert "sys.exit(code)" in (tmp_path / "0003/log.txt").read_text()


def test_a_log_that_finds_no_room_is_told_as_such(tmp_path):
    """The trainer's first word does not fit, and what is left of it neither when the log closes."""
    started = launch(tmp_path)
    (tmp_path / "0003").mkdir(exist_ok=True)
    (tmp_path / "0003/log.txt").symlink_to("/dev/full")
    assert run_trial(NAME, started, lambda _: True) == {
        "failure": {
            "kind": "infrastructure",
            "message": f"{tmp_path}/0003: No space left on device; make room there (`df -h` and "
            "`df -i` show bytes and inodes), or use another folder",
        }
    }  # fmt: skip


class StoppedError(BaseException):
    """As executors end a trainer that goes on."""


def test_what_stops_a_worker_passes_through(tmp_path):
    def stop(_payload):
        raise StoppedError

    with pytest.raises(StoppedError):
        run_trial(NAME, launch(tmp_path), stop)
    assert (tmp_path / "0003/trained.txt").read_text() == "1\n"


@pytest.mark.parametrize("method", ["probe", "evaluate", "export"])
def test_facts_that_a_method_does_not_return_are_named(monkeypatch, method):
    monkeypatch.setattr(TRAINER, method, lambda _spec: None)
    with pytest.raises(SpecError, match=f"^trainer quick: {method} must return a mapping, got no"):
        call_method(NAME, method, ({},))


def test_methods_are_called_by_name():
    assert call_method(NAME, "probe", ({},))["seconds_per_epoch"] == 0.001


def batch(folder, *margins):
    launches = []
    for number, margin in enumerate(margins, 4):
        place = folder / f"{number:04d}"
        place.mkdir()
        train = {"margin": margin, "frozen": True, "num_epochs": 2}
        spec = STAGED_TRAINER.validate({"train": train, "results_dir": str(place)})
        launches.append(Launch(number=number, spec=spec, folder=str(place)))
    return replace(launches[0], members=tuple(launches))


def test_a_batch_reports_and_ends_by_the_numbers_of_its_trials(tmp_path):
    told = []
    outcomes = run_launch(
        STAGED, batch(tmp_path, 0.2, 0.6), lambda n, line: told.append((n, line["epoch"])) or n == 5
    )
    assert told == [(4, 1), (5, 1), (5, 2)]
    assert list(outcomes) == [4, 5]
    assert outcomes[5]["receipt"]["applied"]["train.margin"] == 0.6
    assert "trained together with trial 4" in (tmp_path / "0005/log.txt").read_text()


def test_what_ends_a_batch_is_the_failure_of_each_of_its_trials(tmp_path):
    def report(number, line):
        raise MemoryError("no room")

    failure = {"failure": {"kind": "out_of_memory", "message": "no room"}}
    launch = batch(tmp_path, 0.2, 0.6)
    assert run_launch(STAGED, launch, report) == {4: failure, 5: failure}
    assert run_launch(NAME, launch, report)[5]["failure"]["kind"] == "code"  # trains none together


def test_a_run_directory_that_a_node_lacks_is_not_made_there(tmp_path):
    launch = Launch(number=3, spec={}, folder=str(tmp_path / "runs/a/trials/0003"))
    failure = run_launch(NAME, launch, lambda _number, _told: True)[3]["failure"]
    assert failure["kind"] == "spec"
    assert failure["message"].startswith(f"{tmp_path}/runs/a/trials is not there for a worker on")
    assert not (tmp_path / "runs").exists()


def test_two_trials_that_overlap_in_threads_have_logs_of_their_own(tmp_path, caplog, capsys):
    """As two searches of one program do; whichever ends first."""
    entered, left = threading.Barrier(2), threading.Event()
    root = logging.getLogger()
    before = (list(root.handlers), root.level, sys.stdout, sys.stderr)

    def trial(name, is_first):
        with trial_log(tmp_path / name):
            entered.wait(30)
            if not is_first:
                left.wait(30)
            print(f"{name} prints")
            logging.getLogger("some.trainer").info("%s logs", name)
            logging.getLogger("hpo.searching.engine").warning("of %s", name)
        if is_first:
            left.set()

    threads = [threading.Thread(target=trial, args=one) for one in (("a", True), ("b", False))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("afterwards")
    for name, other in ("ab", "ba"):
        log = (tmp_path / name / "log.txt").read_text()
        assert f"{name} prints" in log
        assert f"INFO some.trainer: {name} logs" in log
        assert f"{other} " not in log
        assert f"of {other}" not in log
    assert (list(root.handlers), root.level, sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "afterwards\n"
    assert sorted(r.getMessage() for r in caplog.records) == ["of a", "of b"]
