import io
import json
import logging
import math
import time

import pytest

from hpo.core.event_bus import EventBus, EventFile, EventPrinter
from hpo.core.event_json import from_json
from hpo.core.events import Epoch, Error, Finished, Preparing, Started
from tests.crashes.driver import on_small_disk


class Ear:
    """A listener that raises at one kind of event."""

    def __init__(self, stumbles="", at_close=False):
        self.heard, self.stumbles, self.at_close, self.closed = [], stumbles, at_close, False

    def handle(self, event):
        if event.name == self.stumbles:
            raise RuntimeError("on purpose")
        self.heard.append(event)

    def close(self):
        self.closed = True
        if self.at_close:
            raise RuntimeError("on purpose")


def names(ear):
    return [event.name for event in ear.heard]


def test_all_listeners_hear_everything_in_order():
    first, late = Ear(), Ear()
    bus = EventBus([first])
    bus.emit(Started(run_dir="/x"))
    bus.add(late)
    bus.emit(Epoch(trial=0, epoch=1, value=0.5))
    assert names(first) == ["started", "epoch"]
    assert names(late) == ["epoch"]
    assert first.heard[1] is late.heard[0]
    assert abs(time.time() - first.heard[1].time) < 60


def test_a_stumbling_listener_is_dropped_and_the_others_go_on(caplog):
    bad, good = Ear(stumbles="preparing"), Ear()
    bus = EventBus([bad, good])
    with caplog.at_level(logging.WARNING):
        bus.emit(Preparing(what="probe"))
        bus.emit(Epoch(trial=1, epoch=1, value=0.5))
    assert names(good) == ["preparing", "epoch"]
    assert names(bad) == []
    assert "Ear no longer listens" in caplog.text


def test_a_full_disk_costs_the_file_of_events_nothing_but_time(tmp_path, caplog):
    """Lines that found no room are written once there is some, each once and in their order."""

    def work():
        place = tmp_path / "small"
        bus, good = EventBus([EventFile(place / "events")]), Ear()
        bus.add(good)
        bus.emit(Started(run_dir="r"))
        with (
            (place / "ballast").open("wb", buffering=0) as stream,
            pytest.raises(OSError, match="No space"),
        ):
            while True:
                stream.write(bytes(4096))
        for trial in range(200):  # more than what is left of the file's last block
            bus.emit(Epoch(trial=trial, epoch=1, value=0.5))
        (place / "ballast").unlink()
        bus.emit(Finished(run_dir="r"))
        bus.close()
        events = [json.loads(line) for line in (place / "events").read_text().splitlines()]
        found = [event["trial"] for event in events if event["event"] == "epoch"]
        return f"{len(names(good))} {found == [*range(200)] and len(events) == 202}\n{caplog.text}"

    told = on_small_disk(tmp_path / "small", 1, work)
    if told is None:
        pytest.skip("this machine lets no process mount a small file system")
    assert told.splitlines()[0] == "202 True"
    assert told.count("EventFile is late: [Errno 28] No space left on device") == 1
    assert "Traceback" not in told


def test_closing_reaches_everybody_even_past_a_failure(caplog):
    bad, good = Ear(at_close=True), Ear()
    bus = EventBus([bad, good])
    bus.close()
    bus.close()
    assert good.closed
    assert caplog.text.count("did not close") == 1


def test_files_and_streams_get_one_line_each_at_once(tmp_path):
    stream, path = io.StringIO(), tmp_path / "events.ndjson"
    file, printer = EventFile(path), EventPrinter(stream)
    bus = EventBus([file, printer])
    bus.emit(Started(run_dir="r"))
    bus.emit(Epoch(trial=0, epoch=1, value=0.5, metrics={"loss": math.nan}))
    assert path.read_text() == stream.getvalue()  # before anything was closed
    assert [from_json(line).name for line in path.read_text().splitlines()] == ["started", "epoch"]
    bus.close()
    assert not stream.closed
    again = EventFile(path)
    again.handle(Finished(run_dir="r"))
    again.close()
    assert len(path.read_text().splitlines()) == 3


def test_a_line_that_was_cut_off_takes_no_other_with_it(tmp_path):
    path = tmp_path / "events.ndjson"
    bus = EventBus([EventFile(path)])
    bus.emit(Started(run_dir="r"))
    bus.emit(Epoch(trial=0, epoch=1, value=0.5))
    bus.close()
    path.write_bytes(path.read_bytes()[:-9])  # the disk was full as the process ended
    for count in (3, 4):
        again = EventFile(path)
        again.handle(Started(run_dir="r"))
        again.close()
        found = [from_json(line) for line in path.read_text().splitlines()]
        assert [event and event.name for event in found] == ["started", None] + ["started"] * (
            count - 2
        )


def test_an_error_is_printed_last_and_once():
    stream = io.StringIO()
    printer = EventPrinter(stream)
    printer.handle(Started(run_dir="r"))
    printer.print_error(RuntimeError("two\nlines"))
    assert json.loads(stream.getvalue().splitlines()[-1])["message"] == "two lines"
    printer.handle(Error(run_dir="r", message="told"))
    printer.print_error(RuntimeError("again"))
    assert from_json(stream.getvalue().splitlines()[-1]) == Error(run_dir="r", message="told")
