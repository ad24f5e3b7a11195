"""DiskSpace on the disk: the warning, the pause and its end, with a disk that is a number."""

import errno
import itertools
import os

import pytest

from hpo.core.budget import Budget
from hpo.core.events import Epoch, Started
from hpo.core.pacing import SHARE
from hpo.core.trial import Ended
from hpo.run.checkpoint_retention import BEST
from hpo.run.disk_errors import OutOfRoomError
from hpo.run.disk_space import LONGEST_WAIT_S, SPARE_BYTES, DiskSpace
from hpo.run.run_dir import RunDir
from hpo.searching.engine import Engine
from tests.count_calls import count_calls
from tests.quick_runs import Events, Listed, make_engine, receipt_of, train_to_end

MB = 1_000_000
FULL = {"kind": "infrastructure", "message": "[Errno 28] No space left on device: '/r/ckpt/x'"}


class Disk:
    """A disk, a clock and a user, all in numbers; something happens when the clock passes a moment."""

    def __init__(self, folder, free=1000 * MB, **more):
        self.free, self.time, self.later, self.wish = free, 0.0, {}, False
        self.run, self.events = RunDir(folder), Events()
        self.run.path.mkdir(parents=True, exist_ok=True)
        self.disk_space = DiskSpace(
            self.run, emit=self.events, free=lambda _: self.free, sleep=self.sleep,
            now=lambda: self.time, should_stop=lambda: self.wish, **more,
        )  # fmt: skip

    def sleep(self, seconds):
        self.time += seconds
        for moment in [m for m in self.later if m <= self.time]:
            self.later.pop(moment)()

    def checkpoint(self, number, size):
        """A trial writes a checkpoint and reports its epoch."""
        folder = self.run.checkpoints_dir(number)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "last.ckpt").open("wb") as stream:
            stream.truncate(size)
        self.disk_space.handle(Epoch(trial=number, epoch=1, value=0.5))

    def grows(self, to):
        self.free = to

    def words(self, name):
        return [data["text"] for data in self.events.named(name)]


def test_a_trial_needs_three_files_of_the_largest_size_and_one_for_each_neighbour(tmp_path):
    disk = Disk(tmp_path)
    assert disk.disk_space.needed() == SPARE_BYTES
    disk.checkpoint(0, 40 * MB)
    disk.checkpoint(1, 30 * MB)
    assert disk.disk_space.needed() == 120 * MB + SPARE_BYTES
    assert disk.disk_space.needed(running=2) == 200 * MB + SPARE_BYTES


def test_a_resumed_search_knows_the_size_at_once(tmp_path):
    Disk(tmp_path).checkpoint(4, 7 * MB)
    again = Disk(tmp_path)
    again.disk_space.handle(Started(run_dir=str(tmp_path)))
    assert again.disk_space.needed() == 21 * MB + SPARE_BYTES


def test_before_the_first_checkpoint_the_probe_is_believed(tmp_path):
    disk = Disk(tmp_path)
    disk.disk_space.expect(10 * MB)
    assert disk.disk_space.needed() == 30 * MB + SPARE_BYTES


def test_it_warns_once_in_good_time_and_again_after_it_was_better(tmp_path):
    disk = Disk(tmp_path, free=200 * MB, keep=BEST)
    disk.checkpoint(0, 10 * MB)  # a start takes 30
    assert disk.words("disk_low") == []
    disk.free = 110 * MB
    for _ in range(5):
        disk.checkpoint(1, 10 * MB)
    assert disk.words("disk_low") == [
        f"the disk of {tmp_path} has 110.0 MB free; a trial needs 30.3 MB to start; make room"
    ]
    disk.free = 130 * MB  # a loser's checkpoints were removed, which is no news
    disk.checkpoint(1, 10 * MB)
    disk.free = 110 * MB
    disk.checkpoint(1, 10 * MB)
    assert len(disk.words("disk_low")) == 1
    disk.free = 500 * MB
    disk.checkpoint(1, 10 * MB)
    disk.free = 50 * MB
    disk.checkpoint(1, 10 * MB)
    assert len(disk.words("disk_low")) == 2


def test_where_everything_is_kept_it_says_how_many_trials_may_fit(tmp_path):
    disk = Disk(tmp_path, free=90 * MB)
    disk.checkpoint(0, 10 * MB)
    (text,) = disk.words("disk_low")
    assert "leaves up to 20.0 MB, so 4 more may fit" in text
    assert f"`hpo resume {tmp_path} --keep best`" in text


def test_a_pause_begins_once_and_ends_once(tmp_path):
    disk = Disk(tmp_path, free=50 * MB, keep=BEST)
    disk.checkpoint(0, 10 * MB)
    assert not disk.disk_space.is_short()
    disk.free = 29 * MB
    assert all(disk.disk_space.is_short() for _ in range(10))
    disk.free = 31 * MB
    assert disk.disk_space.is_short()  # looks at most every two seconds
    disk.sleep(2)
    assert not disk.disk_space.is_short()
    assert disk.words("paused") == [
        f"the disk of {tmp_path} has 29.0 MB free, and a trial needs 30.3 MB to start; the search goes on "
        f"by itself when there is room; Ctrl-C stops, `hpo resume {tmp_path}` goes on later"
    ]
    assert disk.words("continued") == [
        f"there is room again: the disk of {tmp_path} has 31.0 MB free"
    ]


def test_a_quota_counts_what_the_run_takes(tmp_path):
    disk = Disk(tmp_path, quota=5 * MB)
    (tmp_path / "log").write_bytes(os.urandom(3 * MB))
    assert not disk.disk_space.is_short()
    disk.sleep(2)
    (tmp_path / "log2").write_bytes(os.urandom(int(1.9 * MB)))
    disk.sleep(2)
    assert disk.disk_space.is_short()
    (text,) = disk.words("paused")
    assert text.startswith(f"{tmp_path} takes 4.9 MB of its quota of 5.0 MB, and a trial needs ")
    assert text.endswith(f"`hpo resume {tmp_path} --keep best --disk-quota SIZE` goes on later")
    (tmp_path / "log").unlink()
    disk.sleep(2)
    assert not disk.disk_space.is_short()


def test_a_large_run_directory_is_walked_rarely(tmp_path):
    """By a clock that goes on by 3 s whenever it is looked at, a walk takes 3 s."""
    clock = itertools.count(step=3)
    space = DiskSpace(
        RunDir(tmp_path),
        emit=Events(),
        free=lambda _: 10**12,
        quota=5 * MB,
        now=lambda: next(clock),
    )

    def train():
        for epoch in range(1, 201):
            space.handle(Epoch(trial=0, epoch=epoch, value=0.5))

    walks = count_calls(train, of="folder_bytes")
    assert 1 < walks <= next(clock) / (3 * SHARE)


# A trial that found no room ----------------------------------------------------------------------


def waits(disk, most=3600):
    began = disk.time
    while disk.disk_space.is_short() and disk.time - began < most:
        disk.disk_space.rest()
    return disk.time - began


def test_a_trial_that_found_no_room_is_not_to_blame(tmp_path):
    disk = Disk(tmp_path, free=0)
    assert disk.disk_space.is_disk_failure(3, FULL)
    assert disk.words("paused")[0].startswith("trial 3 found no room: [Errno 28] No space left")
    disk.later[60.0] = lambda: disk.grows(to=500 * MB)
    assert 58 <= waits(disk) <= 64


def test_what_it_wrote_is_gone_by_then_so_it_waits_longer_unless_more_is_free(tmp_path):
    disk = Disk(tmp_path, free=90 * MB)
    disk.disk_space.expect(25 * MB)
    assert not disk.disk_space.is_short()
    assert disk.disk_space.is_disk_failure(3, FULL)
    disk.later[10.0] = lambda: disk.grows(to=91 * MB)
    assert waits(disk) == pytest.approx(10, abs=2.1)


def test_room_made_before_a_failure_is_told_ends_the_wait_too(tmp_path):
    """A worker found the disk full; by the time its word arrives there is as much as ever."""
    disk = Disk(tmp_path, free=57 * MB)
    disk.disk_space.expect(5 * MB)
    took = []
    for _ in range(6):
        assert disk.disk_space.is_disk_failure(0, FULL)
        took.append(waits(disk, most=1000))
    assert took == pytest.approx([30, 60, 120, 240, 300, 300], abs=2.5)


def test_where_there_seems_to_be_room_it_is_tried_again_ever_later(tmp_path):
    """Another disk, or a quota that nobody can ask for."""
    disk, took = Disk(tmp_path), []
    for _ in range(10):
        assert disk.disk_space.is_disk_failure(3, FULL)
        took.append(waits(disk))
    assert took[:4] == pytest.approx([2, 4, 8, 16], abs=0.6)
    assert max(took) == pytest.approx(LONGEST_WAIT_S, abs=2.5)
    disk.checkpoint(3, 1000)  # it gets on
    assert disk.disk_space.is_disk_failure(3, FULL)
    assert waits(disk) == pytest.approx(2, abs=0.6)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("infrastructure", "the worker process was lost"), ("code", "KeyError: 'x'"),
     ("data", "[Errno 2] No such file or directory: 'x'")],
)  # fmt: skip
def test_other_failures_are_not_the_disks(tmp_path, kind, message):
    disk = Disk(tmp_path)
    assert not disk.disk_space.is_disk_failure(3, {"kind": kind, "message": message})
    assert disk.events.all == []


def test_a_worker_lost_while_less_than_a_checkpoint_is_free_found_no_room(tmp_path):
    disk = Disk(tmp_path, free=9 * MB)
    disk.disk_space.expect(10 * MB)
    assert disk.disk_space.is_disk_failure(
        3, {"kind": "infrastructure", "message": "the worker was lost"}
    )


# Writes of the driver ----------------------------------------------------------------------------


def no_space():
    raise OSError(errno.ENOSPC, "No space left on device", "/r/state.json")


def test_a_write_is_made_again_until_there_is_room(tmp_path):
    disk, tries, waited = Disk(tmp_path, free=0), [], []
    disk.disk_space.on_waited = waited.append
    disk.later[10.0] = lambda: disk.grows(to=500 * MB)

    def write():
        tries.append(disk.time)
        if disk.free == 0:
            no_space()
        return "written"

    assert disk.disk_space.wait_for_space(write) == "written"
    assert waited == [pytest.approx(disk.time)]
    assert 10 <= disk.time <= 12.5
    assert len(tries) == 6
    assert len(disk.words("paused")) == len(disk.words("continued")) == 1


def test_the_disk_that_is_full_is_named_where_it_is_not_the_runs(tmp_path):
    """Such as the driver's own, where the ledger of a search on a cluster lies."""
    run, events = RunDir(tmp_path / "run"), Events()
    free = {run.path: 900 * MB, tmp_path / "driver": 100}
    space = DiskSpace(
        run, emit=events, free=free.get, quota=2 * MB, sleep=lambda _: free.update({there: MB}),
        now=itertools.count().__next__,
    )  # fmt: skip
    there = tmp_path / "driver"

    def write():
        if free[there] < MB:
            no_space()
        return "written"

    assert space.wait_for_space(write, there) == "written"
    (paused,) = events.named("paused")
    assert paused["text"].startswith(f"the disk of {there} is full: No space left on device")
    assert paused["free_bytes"] == 100
    assert "quota" not in paused["text"]


def test_who_asks_to_stop_gets_the_error(tmp_path):
    disk = Disk(tmp_path, free=0)
    disk.later[3.0] = lambda: setattr(disk, "wish", True)
    with pytest.raises(OSError, match="No space"):
        disk.disk_space.wait_for_space(no_space)
    assert disk.time <= 4


@pytest.mark.parametrize(
    "error", [OSError(errno.EROFS, "Read-only file system"), KeyError("x"), ValueError("full")]
)
def test_other_errors_are_raised_at_once(tmp_path, error):
    disk = Disk(tmp_path)

    def work():
        raise error

    with pytest.raises(type(error)):
        disk.disk_space.wait_for_space(work)
    assert disk.time == 0


def test_what_a_worker_says_of_the_disk_is_waited_for_too(tmp_path):
    disk, tries = Disk(tmp_path, free=0), []

    def export():
        tries.append(1)
        if len(tries) < 3:
            raise OutOfRoomError("r: its disk takes no more files")
        return "exported"

    assert disk.disk_space.wait_for_space(export) == "exported"


# With the engine ---------------------------------------------------------------------------------


def engine_on(disk, algorithm, **plan):
    """An engine whose clock is the disk's."""
    made = make_engine(disk.run.path, algorithm, **plan)
    engine = Engine(
        ledger=made.ledger, algorithm=algorithm, plan=made._plan, emit=disk.events,
        disk_space=disk.disk_space, now=lambda: disk.time, should_stop=lambda: disk.wish,
    )  # fmt: skip
    engine.ledger = made.ledger
    return engine


def drive(engine, disk, fails=()):
    """As the in-process executor does; trials in `fails` find no room in their first start."""
    fails, started = set(fails), []
    while (launch := engine.next_launch()) is not None or engine.rest():
        if launch is None:
            continue
        started.append(launch.number)
        disk.sleep(1)
        if launch.number in fails:
            fails.remove(launch.number)
            disk.free = 0
            engine.on_end(launch.number, Ended(failure=FULL))
        else:
            train_to_end(engine, launch)
    return started


RATES = [0.001, 0.002, 0.003]


def test_a_full_disk_pauses_and_the_search_ends_as_without(tmp_path):
    disk = Disk(tmp_path / "full")
    engine = engine_on(disk, Listed(RATES), budget=Budget(trials=3))
    disk.later[500.0] = lambda: disk.grows(to=1000 * MB)
    assert drive(engine, disk, fails=[1]) == [0, 1, 1, 2]
    whole = Disk(tmp_path / "whole")
    other = engine_on(whole, Listed(RATES), budget=Budget(trials=3))
    assert drive(other, whole) == [0, 1, 2]
    rows = [
        [(t.params, str(t.state), t.value, t.retries, t.error) for t in e.ledger.trials()]
        for e in (engine, other)
    ]
    assert rows[0] == rows[1]
    assert engine.spent().trials == 3
    assert engine.spent().seconds < 10
    assert disk.time > 490
    assert disk.events.names().count("paused") == disk.events.names().count("continued") == 1
    assert [e["trial"] for e in disk.events.named("trial_suspended")] == [1]


def test_a_paused_search_can_be_stopped(tmp_path):
    disk = Disk(tmp_path)
    engine = engine_on(disk, Listed(RATES), budget=Budget(trials=3))
    disk.later[50.0] = lambda: setattr(disk, "wish", True)
    assert drive(engine, disk, fails=[1]) == [0, 1]
    assert engine.was_interrupted
    assert 50 <= disk.time <= 52
    assert [str(t.state) for t in engine.ledger.trials()] == ["complete", "running"]


def test_no_spec_can_be_written(tmp_path, monkeypatch):
    disk = Disk(tmp_path)
    engine = engine_on(disk, Listed(RATES), budget=Budget(trials=3))
    write, refused = RunDir.write_spec, []

    def full_once(run, number, spec):
        if number == 1 and not refused:
            refused.append(number)
            no_space()
        return write(run, number, spec)

    monkeypatch.setattr(RunDir, "write_spec", full_once)
    assert drive(engine, disk) == [0, 1, 2]
    assert [str(t.state) for t in engine.ledger.trials()] == ["complete"] * 3
    assert "the disk of" in disk.words("paused")[0]


def test_a_search_that_has_nothing_more_to_start_does_not_wait(tmp_path):
    disk = Disk(tmp_path)
    engine = engine_on(disk, Listed(RATES), budget=Budget(trials=1))
    launch = engine.next_launch()
    disk.free = 0
    train_to_end(engine, launch)
    assert engine.next_launch() is None
    assert engine.is_over()
    assert not engine.rest()
    assert disk.words("paused") == []


def test_neighbours_of_a_trial_that_found_no_room_run_on(tmp_path):
    disk = Disk(tmp_path)
    engine = engine_on(disk, Listed(RATES), budget=Budget(trials=3))
    first, second = engine.next_launch(), engine.next_launch()
    disk.free = 0
    engine.on_end(first.number, Ended(failure=FULL))
    assert engine.next_launch() is None
    assert not engine.is_over()
    assert engine.on_epoch(
        second.number, {"epoch": 1, "value": 0.5, "seconds": 1.0, "receipt": receipt_of(second)}
    )
    disk.free = 1000 * MB
    disk.sleep(3)
    assert engine.next_launch().number == first.number


def test_what_is_useless_goes_before_a_search_would_wait_for_room(tmp_path):
    disk = Disk(tmp_path, free=SPARE_BYTES)
    disk.disk_space.expect(MB)
    freed = []

    def make_room():
        freed.append(3 * MB)
        disk.free += 3 * MB

    disk.disk_space.make_room = make_room
    assert not disk.disk_space.is_short()
    assert disk.events.names() == []
    assert disk.disk_space.is_little()
    assert not disk.disk_space.is_short()
    assert freed == [3 * MB]
    disk.disk_space.make_room = lambda: freed.append(0)
    assert disk.disk_space.is_short(running=1)
    assert disk.disk_space.is_short(running=1)
    assert freed == [3 * MB, 0]  # once, not again and again while it waits
    disk.free = 100 * MB
    assert not disk.disk_space.is_little()
