import contextlib
import math
import os
import random
import shutil
import signal
import sqlite3
import time

import pytest
from optuna.distributions import FloatDistribution

from hpo.core.errors import RunError
from hpo.core.trial import Measurement, Suggestion, TrialState
from hpo.run.ledger import STUDY_NAME, Ledger
from hpo.run.ledger_storage import open_storage
from tests.crashes.driver import on_disk

FLOAT = {"lr": FloatDistribution(1e-5, 1.0, log=True)}


def suggestion(number, lr=0.01, **changes):
    facts = {
        "number": number, "params": {"train.lr": lr, "train.flag": True, "train.steps": [3, 6]},
        "latents": {"lr": lr, "flag": "yes"}, "until_epoch": 9,
    }  # fmt: skip
    return Suggestion(**(facts | changes))


def epoch(number, value, **more):
    return Measurement(epoch=number, value=value, **more)


def write_story(ledger):
    """Four trials that ended in every way, two of them at the same time."""
    ledger.start(suggestion(0), now=100.0, clock=0.0, seed=7, distributions=FLOAT)
    ledger.start(suggestion(1, 0.1, start_from=(0, 0)), now=101.0, clock=0.5, distributions=FLOAT)
    ledger.record(1, epoch(1, 0.3, metrics={"loss": 1.5}, seconds=0.25), clock=1.0)
    ledger.record(0, epoch(1, 0.2, seconds=0.5, checkpoint="ckpt/last.ckpt"), clock=1.25)
    ledger.annotate(0, receipt={"applied": {"train.lr": 0.01}, "device": "cpu"})
    ledger.record(0, epoch(2, 0.6), clock=2.0)
    ledger.record(0, epoch(3, 0.4), clock=3.0)
    ledger.finish(1, TrialState.PRUNED, now=110.0, clock=3.5)
    ledger.finish(0, TrialState.COMPLETE, now=111.0, clock=4.0)
    ledger.start(suggestion(2), now=112.0, clock=4.0, purpose="confirm", seed=9)
    ledger.annotate(2, retries=2)
    ledger.record(2, epoch(1, 0.9), clock=5.0)
    error = {"kind": "out_of_memory", "message": "too much"}
    ledger.finish(2, TrialState.FAILED, now=113.0, clock=6.0, error=error)
    ledger.start(suggestion(3), now=114.0, clock=6.5)
    ledger.record(3, epoch(1, -0.5, metrics={"loss": math.inf}), clock=7.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture(params=["disk", "memory"])
def ledger(request, path):
    made = Ledger.create(path if request.param == "disk" else None, "maximize")
    yield made
    made.close()


def test_the_story_by_hand(ledger):
    write_story(ledger)
    first, second, third, last = ledger.trials()
    assert [t.state for t in ledger.trials()] == ["complete", "pruned", "failed", "running"]
    assert (first.value, first.epochs, first.seconds, first.seed) == (0.6, 3, 0.5, 7)
    assert first.receipt == {"applied": {"train.lr": 0.01}, "device": "cpu"}
    assert first.measurements[0].checkpoint == "ckpt/last.ckpt"
    assert (second.value, second.start_from, second.ended) == (0.3, (0, 0), 110.0)
    assert (third.value, third.error["kind"], third.retries) == (None, "out_of_memory", 2)
    assert (third.purpose, third.measurements[0].value) == ("confirm", 0.9)
    assert (last.value, last.ended, last.started) == (None, None, 114.0)
    assert ledger.next_number == 4
    assert ledger.active_seconds == 7.0
    assert [(c.what, c.number) for c in ledger.changes()] == [
        ("start", 0), ("start", 1), ("epoch", 1), ("epoch", 0), ("epoch", 0), ("epoch", 0),
        ("end", 1), ("end", 0), ("start", 2), ("epoch", 2), ("end", 2), ("start", 3), ("epoch", 3),
    ]  # fmt: skip


def test_a_trial_of_a_changed_space_is_kept_though_optuna_would_refuse_it(path):
    made = Ledger.create(path, "maximize")
    made.start(suggestion(0), now=0.0, clock=0.0, distributions=FLOAT)
    linear = {"lr": FloatDistribution(0.0, 1.0)}
    made.start(suggestion(1, 0.5), now=1.0, clock=0.0, distributions=linear)
    made.close()
    again = Ledger.open(path)
    assert [t.params["train.lr"] for t in again.trials()] == [0.01, 0.5]
    assert again.trial(1).latents == {"lr": 0.5, "flag": "yes"}
    again.close()


def test_ends_are_told_in_their_order(ledger):
    write_story(ledger)
    assert [t.number for t in ledger.ended()] == [1, 0, 2]
    assert ledger.num_ended == 3
    again = ledger.copied()  # which is read from its storage
    assert [t.number for t in again.ended()] == [1, 0, 2]
    assert again.num_ended == 3


def test_disk_and_memory_keep_the_same(path):
    disk, memory = Ledger.create(path, "maximize"), Ledger.create(None, "maximize")
    write_story(disk)
    write_story(memory)
    disk.close()
    again = Ledger.open(path)
    assert again.trials() == memory.trials()
    assert again.changes() == memory.changes() == disk.changes()
    assert again.active_seconds == memory.active_seconds
    assert again.direction == "maximize"


def test_an_opened_ledger_goes_on_counting(path):
    first = Ledger.create(path, "minimize")
    write_story(first)
    first.close()
    second = Ledger.open(path)
    second.record(3, epoch(2, -0.75), clock=8.0)
    second.finish(3, TrialState.COMPLETE, now=120.0, clock=9.0)
    assert second.trial(3).value == -0.75  # minimize: the lower one
    second.start(suggestion(4), now=121.0, clock=9.5)
    second.close()
    third = Ledger.open(path)
    assert third.trials() == second.trials()
    assert [(c.sequence, c.what, c.number) for c in third.changes()[-4:]] == [
        (12, "epoch", 3), (13, "epoch", 3), (14, "end", 3), (15, "start", 4),
    ]  # fmt: skip


def test_calls_out_of_turn_are_bugs_of_the_caller(ledger):
    ledger.start(suggestion(0), now=0.0, clock=0.0)
    ledger.record(0, epoch(2, 0.5), clock=0.0)
    for number in (1, 2):
        with pytest.raises(ValueError, match=f"epoch {number} is already recorded"):
            ledger.record(0, epoch(number, 0.9), clock=0.0)
    ledger.finish(0, TrialState.COMPLETE, now=0.0, clock=0.0)
    with pytest.raises(ValueError, match="trial 0: has already ended as complete"):
        ledger.finish(0, TrialState.FAILED, now=0.0, clock=0.0)
    with pytest.raises(KeyError):
        ledger.trial(5)
    with pytest.raises(RunError, match="trial 5 was written as 1"):
        ledger.start(suggestion(5), now=0.0, clock=0.0)


def test_optuna_itself_reads_the_study(path):
    import optuna

    ledger = Ledger.create(path, "maximize")
    ledger.start(suggestion(0), now=0.0, clock=0.0, distributions=FLOAT)
    ledger.record(0, epoch(1, 0.25), clock=0.0)
    ledger.record(0, epoch(2, 0.5), clock=0.0)
    ledger.finish(0, TrialState.COMPLETE, now=0.0, clock=0.0)
    ledger.start(suggestion(1), now=0.0, clock=0.0, distributions=FLOAT)
    ledger.finish(1, TrialState.FAILED, now=0.0, clock=0.0)
    study = optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{path}")
    done, failed = study.trials
    assert study.best_trial.number == 0
    assert done.params == {"lr": 0.01}
    assert done.intermediate_values == {1: 0.25, 2: 0.5}
    assert done.value == 0.5
    assert failed.state.name == "FAIL"
    assert failed.values is None


def test_the_file_is_in_write_ahead_mode(path):
    Ledger.create(path, "maximize").close()
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_closed_ledger_is_the_file_alone(path, tmp_path):
    ledger = Ledger.create(path, "maximize")
    write_story(ledger)
    ledger.close()  # the object is still there
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    copy = tmp_path / "copy.db"
    shutil.copyfile(path, copy)
    copied = Ledger.open(copy)
    assert copied.trials() == ledger.trials()
    copied.close()


# Places ----------------------------------------------------------------------------------------

ODD = (
    "exp#1",
    "my%20runs",
    "what?",
    "q?mode=memory",
    "100%",
    "{x}",
    "a b",
    "it's",
    "f:1",
    b"caf\xe9",
)
"""Names of folders that an address of a database, or a template, would read otherwise."""


@pytest.mark.parametrize("name", ODD)
def test_a_ledger_lies_wherever_its_folder_does(name, tmp_path):
    root = tmp_path / "root"
    path = root / os.fsdecode(name) / "ledger.db"
    path.parent.mkdir(parents=True)
    ledger = Ledger.create(path, "minimize")
    write_story(ledger)
    told = ledger.trials()
    ledger.close()
    assert Ledger.read_trials(path) == (told, "minimize")
    assert list(root.iterdir()) == [path.parent]


@pytest.mark.parametrize("name", ODD)
def test_a_foreign_database_is_refused_and_left_alone_wherever_it_lies(name, tmp_path):
    root = tmp_path / "root"
    path = root / os.fsdecode(name) / "ledger.db"
    path.parent.mkdir(parents=True)
    foreign_sqlite(path)
    before = path.read_bytes()
    with pytest.raises(RunError, match="must be the ledger of a search, and holds none"):
        Ledger.open(path)
    assert path.read_bytes() == before
    assert list(root.iterdir()) == [path.parent]


# Damage ----------------------------------------------------------------------------------------


def foreign_sqlite(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.commit()
    connection.close()


def foreign_study(path):
    import optuna

    optuna.create_study(study_name=STUDY_NAME, storage=f"sqlite:///{path}").ask()


def torn(path):
    ledger = Ledger.create(path, "maximize")
    write_story(ledger)
    ledger.close()
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * (len(data) // 2))


def test_a_new_file_is_what_optuna_makes(path, tmp_path):
    from optuna.storages import RDBStorage

    def content(file):
        with contextlib.closing(sqlite3.connect(file)) as connection:
            return list(connection.iterdump())

    RDBStorage(f"sqlite:///{tmp_path}/optuna.db")
    for file in (path, tmp_path / "second.db"):
        open_storage(file)
        assert content(file) == content(tmp_path / "optuna.db")


def test_tables_of_another_version_of_optuna_are_refused_in_one_line(path, tmp_path):
    for file in (path, tmp_path / "second.db"):
        Ledger.create(file, "maximize").close()
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        with pytest.raises(RunError, match=r"cannot be read: .* no longer compatible .* -U optuna"):
            Ledger.open(file)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("schema_version: 1\n" * 100),
        lambda path: path.write_bytes(os.urandom(8192)),
        foreign_sqlite,
        foreign_study,
        torn,
        lambda path: path.mkdir(),
        lambda path: None,
    ],
    ids=["empty", "text", "noise", "songs", "other study", "torn", "folder", "missing"],
)
def test_what_is_no_ledger_is_one_line(path, damage):
    damage(path)
    with pytest.raises(RunError) as caught:
        Ledger.open(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "more"),
    [("epoch:1", '{"unheard_of": 1}'), ("start", '{"stage": {"unheard_of": 1}}')],
)
def test_a_ledger_of_a_newer_release_is_told_as_one(path, key, more):
    made = Ledger.create(path, "maximize")
    write_story(made)
    made.close()
    change = "UPDATE trial_user_attributes SET value_json = json_patch(value_json, ?) "
    change += "WHERE key = ? AND trial_id = 1"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change, (more, key))
    with pytest.raises(RunError, match="unheard_of: is not known here; a newer release has"):
        Ledger.open(path)


def test_it_is_read_where_nothing_can_be_written(tmp_path):
    disk, made = tmp_path / "disk", tmp_path / "made"
    made.mkdir()
    ledger = Ledger.create(made / "ledger.db", "maximize")
    ledger.start(suggestion(0), now=0.0, clock=0.0)

    def fill():  # as after a kill: the write-ahead log holds what the database does not yet
        for name in ("ledger.db", "ledger.db-wal"):
            shutil.copy(made / name, disk / name)

    def work():
        read = Ledger.read(disk / "ledger.db")
        told = [t.params for t in read.trials()]
        read.close()
        assert told == [suggestion(0).params]
        return str(sorted(p.name for p in disk.iterdir()))

    told = on_disk(disk, "size=4m", work, fill=fill, is_read_only=True)
    if told is None:
        pytest.skip("this machine lets no process mount a file system")
    assert "ledger.db" in told


def test_what_is_read_is_told_by_its_own_name(tmp_path):
    def fill():
        (tmp_path / "disk" / "ledger.db").write_text("no database" * 99)

    def work():
        with pytest.raises(RunError) as caught:
            Ledger.read(tmp_path / "disk" / "ledger.db")
        return str(caught.value)

    told = on_disk(tmp_path / "disk", "size=1m", work, fill=fill, is_read_only=True)
    if told is None:
        pytest.skip("this machine lets no process mount a file system")
    assert told.startswith(f"{tmp_path}/disk/ledger.db: ")


def test_a_full_disk_is_told_and_loses_nothing(path):
    ledger = Ledger.create(path, "maximize")
    ledger.start(suggestion(0), now=0.0, clock=0.0)
    ledger.record(0, epoch(1, 0.5), clock=1.0)
    with ledger._storage.engine.connect() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar()
    from sqlalchemy import event

    ledger._storage.engine.dispose()

    @event.listens_for(ledger._storage.engine, "connect")
    def fill_the_disk(connection, _record):
        connection.execute(f"PRAGMA max_page_count={used}")

    written = 1
    with pytest.raises(RunError, match="the ledger cannot be written: .*disk is full"):
        for number in range(2, 2000):
            ledger.record(
                0, epoch(number, 0.5, metrics={f"m{i}": 0.5 for i in range(50)}), clock=2.0
            )
            written = number
    assert 1 <= written < 1999
    ledger.close()
    again = Ledger.open(path)
    assert again.trial(0).epochs in (written, written + 1)
    assert again.trial(0).measurements[0] == epoch(1, 0.5)
    again.record(0, epoch(again.trial(0).epochs + 1, 0.75), clock=3.0)
    again.finish(0, TrialState.COMPLETE, now=0.0, clock=4.0)
    assert again.trial(0).value == 0.75


# Kills -----------------------------------------------------------------------------------------


def write_until_killed(path, pipe):
    """Write trials of three epochs each for ever; tell the pipe of each call that returned."""
    ledger = Ledger.open(path)
    while True:
        running = [t.number for t in ledger.trials() if not t.state.is_finished]
        number = running[0] if running else ledger.next_number
        if not running:
            ledger.start(suggestion(number), now=0.0, clock=0.0, distributions=FLOAT)
            os.write(pipe, f"start {number} 0\n".encode())
        for e in range(ledger.trial(number).epochs + 1, 4):
            ledger.record(number, epoch(e, number + e / 10), clock=0.0)
            os.write(pipe, f"epoch {number} {e}\n".encode())
        ledger.finish(number, TrialState.COMPLETE, now=0.0, clock=0.0)
        os.write(pipe, f"end {number} 3\n".encode())


def write_and_kill(path, calls, seconds):
    """Let a child write so many calls, kill it a moment later; return the calls that returned."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            write_until_killed(path, writer)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as stream:
        lines = [stream.readline() for _ in range(calls)]
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines += stream.read().splitlines()
    return [(what, int(n), int(e)) for what, n, e in (line.split() for line in lines)]


def test_a_kill_at_any_moment_loses_no_call_that_returned(path):
    Ledger.create(path, "maximize").close()
    rng, returned, cut = random.Random(0), [], 0
    for _ in range(8):
        returned += write_and_kill(path, rng.randrange(1, 20), rng.uniform(0.0, 0.02))
        ledger = Ledger.open(path)
        trials, changes = ledger.trials(), ledger.changes()
        assert [t.number for t in trials] == list(range(len(trials)))
        kept = [
            (c.what, c.number, c.measurement.epoch if c.what == "epoch" else 0) for c in changes
        ]
        assert len(set(kept)) == len(kept)
        told = {(what, n, e if what == "epoch" else 0) for what, n, e in returned}
        assert told <= set(kept)
        assert len(kept) <= len(told) + cut + 1  # at most the call that was under way
        cut = len(kept) - len(told)
        assert kept == sorted(
            kept, key=lambda c: (c[1], ("start", "epoch", "end").index(c[0]), c[2])
        )
        for trial in trials:
            assert [m.value for m in trial.measurements] == [
                trial.number + e / 10 for e in range(1, trial.epochs + 1)
            ]
            assert trial.state == "running" or trial.value == trial.number + 0.3
        ledger.close()
    assert len(returned) > 50


def test_a_copy_holds_the_same_and_goes_its_own_way(ledger):
    write_story(ledger)
    copy = ledger.copied()
    assert copy.trials() == ledger.trials()
    assert copy.changes() == ledger.changes()
    assert (copy.direction, copy.active_seconds) == (ledger.direction, ledger.active_seconds)
    copy.record(3, epoch(2, 0.5), clock=8.0)
    assert (copy.trial(3).epochs, ledger.trial(3).epochs) == (2, 1)


def test_a_choice_stands_until_another_trial_has_an_epoch(path):
    ledger = Ledger.create(path, "maximize")
    write_story(ledger)
    ledger.choose(1)
    ledger.record(3, epoch(2, 0.9), clock=8.0)  # one that was there goes on
    ledger.start(suggestion(4, start_from=(0, 2)), now=115.0, clock=9.0)

    def chosen(of):
        return [t.number for t in of.trials() if t.is_chosen]

    assert chosen(ledger) == chosen(Ledger.open(path)) == [1]
    ledger.finish(4, TrialState.FAILED, now=116.0, clock=9.5, error={"kind": "k", "message": "m"})
    ledger.start(suggestion(5), now=116.0, clock=9.5)
    assert chosen(ledger) == chosen(Ledger.open(path)) == [1]
    ledger.record(5, epoch(1, 0.1), clock=10.0)
    assert chosen(ledger) == chosen(Ledger.open(path)) == []
    ledger.choose(0)
    assert chosen(ledger) == chosen(Ledger.open(path)) == [0]
