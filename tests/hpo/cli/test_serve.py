"""`hpo serve` as a process."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import requests

from hpo.cli.main import main
from hpo.cli.serve import _token
from hpo.core.errors import SpecError
from hpo.run.used_run import pin_run
from tests.hpo.serving.conftest import picture


@contextlib.contextmanager
def serving(where, *flags):
    """The server as a process, once it answers: (process, what it printed)."""
    words = [sys.executable, "-m", "hpo.cli.main", "serve", str(where), "--port", "0", "--json"]
    environment = {k: v for k, v in os.environ.items() if k != "HPO_SERVE_TOKEN"}
    command = [*words[:1], "-c", "import sys; from hpo.cli.main import main; sys.exit(main())"]
    with subprocess.Popen(
        [*command, *words[3:], *flags], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_no_change_that_was_answered_is_lost_by_kill_9(run):
    answered, stop = [], threading.Event()

    def add(worker, told):
        headers = {"Authorization": f"Bearer {told['token']}"}
        for i in range(200):
            name = f"round{len(rounds)}-{worker}-{i}"
            color = (1 + (37 * i + 80 * worker) % 250, 1 + (61 * i) % 250, 40 * len(rounds) + 20)
            with contextlib.suppress(requests.RequestException):
                url = f"{told['url']}/classes/{name}"
                answer = requests.post(url, data=picture(color), headers=headers, timeout=20)
                if answer.ok and answer.json()["new_pictures"]:
                    answered.append(name)
            if stop.is_set():
                return

    rounds = []
    for _ in range(2):
        stop.clear()
        with serving(run.path) as (process, told):
            threads = [threading.Thread(target=add, args=(w, told)) for w in range(3)]
            for thread in threads:
                thread.start()
            before = len(answered)
            while len(answered) < before + 12:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join()
        rounds.append(len(answered))
    with serving(run.path) as (_, told):
        classes = set(requests.get(f"{told['url']}/classes", timeout=20).json())
    assert len(answered) >= 24
    assert set(answered) <= classes


def test_ctrl_c_ends_it_and_the_token_of_the_user_is_not_printed(run, monkeypatch):
    with serving(run.path) as (process, told):
        assert set(told) == {"url", "run", "classes", "token"}
        assert requests.get(f"{told['url']}/health", timeout=20).json()["status"] == "ok"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def test_where_no_run_is_named_the_pinned_one_is_served(run):
    out = run.path.parent.parent
    shutil.copytree(run.path, run.path.parent / "29991231-235959")  # the newest finished
    pin_run(run, out)
    with serving(f"--out={out}") as (_, told):
        assert told["run"] == str(run)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--host", "192.0.2.1"], "--host '192.0.2.1': other machines would reach the server"),
        (["--port", "70000"], "--port: must be between 0 and 65535, got 70000"),
        (["--max-mb", "0"], "--max-mb: must be above 0, and at most 1,000,000, got 0"),
        (["--max-mb", "1e308"], "--max-mb: must be above 0, and at most 1,000,000, got 1e+308"),
        (["--timeout", "-1"], "--timeout: must be above 0, and at most 1,000,000, got -1"),
        (["--timeout", "nan"], "--timeout: must be above 0, and at most 1,000,000, got nan"),
        (["--unknown-at", "2"], "--unknown-at: must be between 0 and 1, got 2"),
        (["--out", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_served_is_refused(capsys, flags, words):
    assert main(["serve", *flags]) == 2
    assert words in capsys.readouterr().err


def test_a_short_token_is_refused(run, monkeypatch, capsys):
    monkeypatch.setenv("HPO_SERVE_TOKEN", "short")
    assert main(["serve", str(run.path)]) == 2
    assert "HPO_SERVE_TOKEN: must have 16 or more plain characters" in capsys.readouterr().err


def test_a_token_has_no_blanks_around_it_as_requests_have_none(monkeypatch):
    monkeypatch.setenv("HPO_SERVE_TOKEN", " 0123456789 abcdef\n")
    assert _token() == ("0123456789 abcdef", True)
    monkeypatch.setenv("HPO_SERVE_TOKEN", "0123456789" + 6 * " ")
    with pytest.raises(SpecError, match="must have 16 or more plain characters, got 10"):
        _token()
