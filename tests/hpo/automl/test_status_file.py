import json
import os

import pytest

from hpo.automl.artifacts import values_in_folder
from hpo.automl.status_file import StatusFile
from tests.count_reads import bytes_read
from tests.hpo.run.test_status_lines import Logger


def polled(tmp_path, *lines):
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    (tmp_path / "status.json").write_text(text)
    return [(seen.epoch, seen.value) for seen in StatusFile(tmp_path, "acc").poll()]


def test_epochs_from_nought_are_counted_from_one(tmp_path):
    assert polled(tmp_path, *({"epoch": n, "kpi": {"acc": n / 4}} for n in (0, 1, 2))) == [
        (1, 0.0), (2, 0.25), (3, 0.5)
    ]  # fmt: skip


def test_the_published_loggers_repeated_metrics_count_once(tmp_path):
    """Before, two epochs were three, and the first value stood for two of them."""
    first, second = {"kpi": {"acc": 0.1}}, {"kpi": {"acc": 0.2}}
    lines = [first, {"epoch": 2} | first, second, {"epoch": 3} | second]
    assert polled(tmp_path, *lines) == [(1, 0.1), (2, 0.2)]


def test_values_on_lines_without_an_epoch_are_of_one_after_the_other(tmp_path):
    assert polled(tmp_path, *({"kpi": {"acc": n / 4}} for n in (1, 2, 3))) == [
        (1, 0.25), (2, 0.5), (3, 0.75)
    ]  # fmt: skip


def appended(tmp_path, log):
    with (tmp_path / "status.json").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in log.lines)


@pytest.mark.parametrize(("start", "named"), [(0, 2), (1, 2), (2, 3)])
def test_lines_of_an_earlier_training_are_none_of_the_one_that_is_started(tmp_path, start, named):
    before, again = Logger(), Logger(first=named)
    before.epoch(0.1, is_loop_first=True)
    before.write(status="FAILURE", message="no memory")
    appended(tmp_path, before)
    told = StatusFile(tmp_path, "acc", start=start)
    told.skip()
    assert told.poll() == []
    again.epoch(0.9, is_loop_first=True)
    appended(tmp_path, again)
    assert [(seen.epoch, seen.value) for seen in told.poll()] == [(start + 1, 0.9)]
    assert told.failure is None


@pytest.mark.parametrize("more", [{}, {"status": "RUNNING"}])
def test_a_file_that_is_written_anew_is_read_whole(tmp_path, more):
    lines = [{"epoch": 1, "kpi": {"acc": 0.5}}, {"status": "FAILURE", "message": "no memory"}]
    polled(tmp_path, *lines)
    os.utime(tmp_path / "status.json", ns=(0, 1))  # longer ago than a clock of the disk ticks
    told = StatusFile(tmp_path, "acc")
    told.skip()
    polled(tmp_path, more, *lines) if more else polled(tmp_path, *lines)
    assert [(seen.epoch, seen.value) for seen in told.poll()] == [(1, 0.5)]
    assert told.failure == "no memory"


def test_at_a_poll_only_new_lines_are_read(tmp_path):
    place = tmp_path / "train" / "status.json"
    place.parent.mkdir()
    with place.open("w") as file:
        file.writelines(f'{{"step": {n}, "message": "of the training"}}\n' for n in range(100_000))
    told = StatusFile(tmp_path, "acc")
    assert told.poll() == []
    assert bytes_read(told.poll) < 2_000  # nothing is new
    found = []
    for epoch in (1, 2, 3):
        with place.open("a") as file:
            file.write(json.dumps({"epoch": epoch, "kpi": {"acc": epoch / 4}}) + "\n")
        assert bytes_read(lambda: found.extend(told.poll())) < 100_000 < place.stat().st_size
        assert [(seen.epoch, seen.value) for seen in found[epoch - 1 :]] == [(epoch, epoch / 4)]


def test_a_pipe_of_that_name_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "status.json")
    assert StatusFile(tmp_path, "acc").poll() == []
    assert values_in_folder(tmp_path, ["acc"]) == {}


@pytest.mark.parametrize("odd", [None, "3", 2.0, True, -1, 10**30, [1], {}])
def test_what_is_no_number_of_an_epoch_is_the_next_one(tmp_path, odd):
    lines = [{"epoch": 7, "kpi": {"acc": 0.25}}, {"epoch": odd, "kpi": {"acc": 0.5}}]
    assert polled(tmp_path, *lines) == [(7, 0.25), (8, 0.5)]


@pytest.mark.parametrize(
    "line",
    ["\x00\ufffd{{{\n", "[1, 2]\nnull\n7\n", "[" * 100_000 + "\n", {"kpi": 3}, {"kpi": {"acc": "great"}},
     '{"kpi": {"acc": NaN}}\n', '{"kpi": {"acc": 1e999}}\n', '{"kpi": {"acc": true}}\n'],
)  # fmt: skip
def test_what_holds_no_value_is_passed_over(tmp_path, line):
    assert polled(tmp_path, line, {"epoch": 1, "kpi": {"acc": 0.5}}) == [(1, 0.5)]


@pytest.mark.parametrize(
    ("statuses", "failure"),
    [
        (["STARTED", "RUNNING", "SUCCESS"], None),
        (["STARTED", "FAILURE"], "no memory"),
        (["RUNNING", " failed "], "no memory"),
        (["FAILURE", "STARTED", "SUCCESS"], None),  # an earlier start of the same trial
        (["FAILURE", None, 3], "no memory"),
    ],
)
def test_the_last_status_tells_a_failure(tmp_path, statuses, failure):
    lines = [{"status": status, "message": "no memory"} for status in statuses]
    (tmp_path / "status.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    file = StatusFile(tmp_path, "acc")
    assert file.poll() == []
    assert file.failure == failure
