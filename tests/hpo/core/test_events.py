import io
import json
import logging
import math

import pytest

from hpo.core.events import NAMES, EventBus, EventFile, EventPrinter, to_json
from tests.crashes.driver import on_small_disk


class Ear:
    """Listens; raises at the event it is told to stumble over."""

    def __init__(self, stumbles="", at_close=False):
        self.heard, self.stumbles, self.at_close, self.closed = [], stumbles, at_close, False

    def handle(self, event):
        if event["event"] == self.stumbles:
            raise RuntimeError("on purpose")
        self.heard.append(event)

    def close(self):
        self.closed = True
        if self.at_close:
            raise RuntimeError("on purpose")


def names(ear):
    return [event["event"] for event in ear.heard]


def test_all_listeners_hear_everything_in_order():
    first, late = Ear(), Ear()
    bus = EventBus([first])
    bus.emit("started", run_dir="/x")
    bus.add(late)
    bus.emit("epoch", trial=0, epoch=1)
    assert names(first) == ["started", "epoch"]
    assert names(late) == ["epoch"]
    assert first.heard[1] | {"time": 0} == {"event": "epoch", "time": 0, "trial": 0, "epoch": 1}
    assert all(isinstance(event["time"], float) for event in first.heard)


@pytest.mark.parametrize("name", NAMES)
def test_a_stumbling_listener_is_dropped_and_the_others_go_on(name, caplog):
    bad, good = Ear(stumbles=name), Ear()
    bus = EventBus([bad, good])
    with caplog.at_level(logging.WARNING):
        bus.emit(name)
        bus.emit("epoch", trial=1)
    assert names(good) == [name, "epoch"]
    assert names(bad) == []
    assert "Ear no longer listens" in caplog.text


def test_a_full_disk_costs_the_file_of_events_nothing_but_time(tmp_path, caplog):
    """Lines that found no room are written once there is some, each once and in their order."""

    def work():
        place = tmp_path / "small"
        bus, good = EventBus([EventFile(place / "events")]), Ear()
        bus.add(good)
        bus.emit("started", run_dir="r")
        with (
            (place / "ballast").open("wb", buffering=0) as stream,
            pytest.raises(OSError, match="No space"),
        ):
            while True:
                stream.write(bytes(4096))
        for trial in range(200):  # more than what is left of the file's last block
            bus.emit("epoch", trial=trial)
        (place / "ballast").unlink()
        bus.emit("finished", best=None)
        bus.close()
        events = [json.loads(line) for line in (place / "events").read_text().splitlines()]
        trials = [event.get("trial") for event in events]
        return f"{len(names(good))} {trials == [None, *range(200), None]}\n{caplog.text}"

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


def test_an_unknown_event_is_a_bug_of_the_caller():
    with pytest.raises(ValueError, match="unknown event 'trial_stopped'"):
        EventBus().emit("trial_stopped")


def strict(line):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(line, parse_constant=refuse)


def test_numbers_that_json_does_not_know_become_null():
    event = {
        "event": "epoch", "value": 0.5,
        "metrics": {"loss": math.nan, "rate": math.inf, "deep": [1, -math.inf, (math.nan,)]},
    }  # fmt: skip
    assert strict(to_json(event)) == {
        "event": "epoch", "value": 0.5,
        "metrics": {"loss": None, "rate": None, "deep": [1, None, [None]]},
    }  # fmt: skip
    assert math.isnan(event["metrics"]["loss"])


def test_one_event_is_one_line(tmp_path):
    line = to_json({"event": "error", "message": "a\nb\r\u2028", "path": tmp_path})
    assert line.splitlines() == [line]
    assert strict(line) == {"event": "error", "message": "a\nb\r\u2028", "path": str(tmp_path)}


def test_files_and_streams_get_one_line_each_at_once(tmp_path):
    stream, path = io.StringIO(), tmp_path / "events.ndjson"
    file, printer = EventFile(path), EventPrinter(stream)
    bus = EventBus([file, printer])
    bus.emit("started", run_dir="r")
    bus.emit("epoch", metrics={"loss": math.nan})
    assert path.read_text() == stream.getvalue()  # before anything was closed
    assert [strict(line)["event"] for line in path.read_text().splitlines()] == ["started", "epoch"]
    bus.close()
    assert not stream.closed
    again = EventFile(path)
    again.handle({"event": "finished"})
    again.close()
    assert len(path.read_text().splitlines()) == 3
