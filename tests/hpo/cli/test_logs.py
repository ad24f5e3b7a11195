import json
import threading
import time

import pytest

from tests.count_calls import count_calls


def test_the_log_of_a_trial(hpo, json_of, first):
    code, out, err = hpo("logs", "first", 1)
    assert (code, err) == (0, "")
    assert "trial 1 failed" in out
    assert out.splitlines()[-1] == "RuntimeError: the loss exploded on purpose"
    said = json_of("logs", "first", 1)
    log = str(first / "trials/0001/log.txt")
    assert said == {"trial": 1, "log": log, "lines": out.splitlines(), "epochs": []}


def test_the_epochs_of_a_trial(hpo, json_of, first):
    told = json_of("logs", "first", 0)["epochs"]
    assert [epoch["epoch"] for epoch in told] == list(range(1, len(told) + 1))
    state = json.loads((first / "state.json").read_text())
    assert max(epoch["value"] for epoch in told) == state["trials"][0]["value"]
    lines = hpo("logs", "first", 0)[1].splitlines()[-len(told) :]
    assert [line.split()[:4] for line in lines] == [
        ["epoch", str(epoch["epoch"]), "P@1", f"{epoch['value']:.4f}"] for epoch in told
    ]


def test_it_goes_on_until_the_trial_ends(hpo, runs):
    """The run is one that goes on: its lock is held, and lines come while the verb reads."""
    from hpo.run.run_dir import find_run

    run = find_run("second", runs)
    log, events = run.trial_dir(1) / "log.txt", run.events_file
    kept = [line for line in events.read_text().splitlines() if '"trial": 1,' not in line]
    events.write_text("\n".join([*kept, ""]))

    def write():
        time.sleep(0.7)
        with events.open("a") as file:
            told = {"event": "trial_progress", "trial": 1, "text": "head epochs 7/20"}
            file.write(json.dumps(told) + "\n")
        for epoch in (1, 2):
            time.sleep(0.7)
            with log.open("a") as file:
                file.write(f"line {epoch}\n")
            with events.open("a") as file:
                told = {
                    "event": "epoch",
                    "trial": 1,
                    "epoch": epoch,
                    "value": epoch / 8,
                    "seconds": 2,
                }
                file.write(json.dumps(told) + "\n")
        with events.open("a") as file:
            file.write(
                json.dumps({"event": "trial_finished", "trial": 1, "state": "complete"}) + "\n"
            )

    writer = threading.Thread(target=write)
    with run.lock():
        writer.start()
        code, out, err = hpo("logs", "second", 1, "-f")
        writer.join()
    assert (code, err) == (0, "")
    assert out.splitlines().count("head epochs 7/20") == 1
    new = [line.split() for line in out.splitlines() if line.startswith(("line", "epoch"))]
    words = [
        ["epoch", "1", "P@1", "0.1250", "2.0", "s"],
        ["epoch", "2", "P@1", "0.2500", "2.0", "s"],
    ]
    assert [line for line in new if line[0] == "epoch"] == words
    assert [line for line in new if line[0] == "line"] == [["line", "1"], ["line", "2"]]


def test_events_of_other_trials_are_passed_over_unread(hpo, first):
    lines = (first / "events.ndjson").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    own = sum(data.get("trial") == 0 or data["event"] == "started" for data in told)
    others = [line for line, data in zip(lines, told, strict=True) if data.get("trial") == 1]
    before = hpo("logs", "first", 0)
    with (first / "events.ndjson").open("a") as file:
        file.writelines(f"{line}\n" for line in others * 50)
    assert hpo("logs", "first", 0) == before
    assert count_calls(hpo, "logs", "first", 0, of="from_json") <= own + 3 < len(lines) / 2


def test_only_the_end_of_it(hpo, first):
    whole = hpo("logs", "first", 1)[1].splitlines()
    assert hpo("logs", "first", 1, "--tail", 2)[1].splitlines() == whole[-2:]
    assert hpo("logs", "first", 1, "--tail", 2**63 - 1)[1].splitlines() == whole


def test_the_newest_run_needs_no_name(hpo, second):
    assert "trains 0000" in hpo("logs", 0)[1]
    assert hpo("logs", 0)[1] == hpo("logs", ".", 0)[1]


def test_bytes_that_are_no_text_are_shown_as_they_can(hpo, first):
    (first / "trials/0001/log.txt").write_bytes(b"ok \xff\n")
    assert hpo("logs", "first", 1)[1].startswith("ok \ufffd\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("first", 9), "trial 9 has no log; `hpo status /"),
        (("first", 1, "--tail", 0), "--tail: must be at least 1, got 0"),
        (("first", 1, "--follow", "--json"), "--follow: prints lines for people"),
        (("first", 1, "--tail", -3), "--tail: must be at least 1, got -3"),
        (("first", 1, "--tail", 10**20), f"--tail: must be at most {2**63 - 1}, got 1000000000000"),
        (("third", 1), "no run 'third'"),
    ],
)
def test_what_is_not_there(fails, runs, argv, said):
    assert said in fails("logs", *argv)
