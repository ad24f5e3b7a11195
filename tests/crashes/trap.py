"""Traps: one fault at one moment of a search, once.

A trap is a file in the folder that holds the runs, so that it reaches worker processes too. Whoever
passes a moment calls `pass_by`; the first one that fits the trap takes it away and lets the fault
happen. Nothing of this is known to the product: the driver's moments are public methods that the
harness's own child process wraps (`hooks.py`), the worker's are those of a registered trainer
(`trainer.py`).
"""

from __future__ import annotations

import json
import os
import signal
import time

TRAP, SPRUNG, DRIVER, BALLAST = "trap.json", "trap.sprung.json", "driver.pid", ".ballast"
LIMIT = ".ledger-limit"
"""While it is there, a ledger that was filled grows no further."""
MOST_PAGES = 2**30
DAY = 86_400.0
LEDGERS = []
"""The ledger of the driver that runs in this process, the newest last."""


def arm(out, hook, when, fault, **facts):
    """Lay a trap in `out`: `facts` must be those of the moment."""
    trap = {"hook": hook, "when": when, "fault": fault, "facts": facts}
    (out / TRAP).write_text(json.dumps(trap))


def sprung(out):
    """Unix time of the fault; None while it has not happened."""
    try:
        return (out / SPRUNG).stat().st_ctime
    except FileNotFoundError:
        return None


def pass_by(out, hook, when, **facts):
    """Pass a moment: the fault happens here if the trap is for it."""
    try:
        trap = json.loads((out / TRAP).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return
    if (trap["hook"], trap["when"]) != (hook, when) or not trap["facts"].items() <= facts.items():
        return
    try:
        (out / TRAP).rename(out / SPRUNG)
    except FileNotFoundError:
        return
    FAULTS[trap["fault"]](out)


# Faults ----------------------------------------------------------------------------------------


def _driver(out):
    return int((out / DRIVER).read_text())


def newest_worker(out):
    """Process id of the worker that was the last to begin a trial; IndexError before the first."""
    files = sorted(out.glob("*/*/trials/*/workers.ndjson"), key=lambda f: f.stat().st_mtime)
    return json.loads(files[-1].read_text().splitlines()[-1])["pid"]


def kill_driver(out):
    os.kill(_driver(out), signal.SIGKILL)
    time.sleep(5)  # a worker whose driver is gone is to do nothing more of its own


def kill_worker(out):
    if os.getpid() == _driver(out):
        os.kill(newest_worker(out), signal.SIGKILL)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def terminate(out):
    os.kill(_driver(out), signal.SIGTERM)


def interrupt(out):
    os.kill(_driver(out), signal.SIGINT)


def interrupt_twice(out):
    interrupt(out)
    time.sleep(0.01)
    interrupt(out)


def fill_disk(out):
    """Write until the file system that holds the runs takes no more."""
    with (out / BALLAST).open("wb", buffering=0) as stream:
        for size in (65536, 4096, 256, 16, 1):
            try:
                while True:
                    stream.write(b"x" * size)
            except OSError:
                continue


def fill_ledger(out):
    """Let the database grow no further until somebody makes room."""
    from sqlalchemy import event

    engine = LEDGERS[-1]._storage.engine
    (out / LIMIT).touch()

    def limit(connection, *_):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        most = pages if (out / LIMIT).exists() else MOST_PAGES
        connection.execute(f"PRAGMA max_page_count={most}")

    event.listen(engine, "checkout", limit)
    with engine.connect() as connection:
        limit(connection.connection.dbapi_connection)


def make_read_only(out):
    """Take away the right to write below every run directory."""
    for path in sorted(out.glob("*/*/**/*"), reverse=True):
        path.chmod(path.stat().st_mode & ~0o222)
    for path in out.glob("*/*"):
        path.chmod(0o555)


def make_writable(out):
    for path in [*out.glob("*/*"), *out.glob("*/*/**/*")]:
        if not os.access(path, os.W_OK, effective_ids=True) or not path.stat().st_mode & 0o200:
            path.chmod(path.stat().st_mode | 0o200)


def run_out_of_memory(out):
    raise MemoryError("out of memory on purpose")


def _jump(seconds):
    def jump(out):
        real = time.time
        time.time = lambda: real() + seconds

    return jump


def stop_forwarding(out):
    """Take the way to the MLflow server away."""
    os.kill(int((out / "forwarder.pid").read_text()), signal.SIGKILL)


FAULTS = {
    "driver SIGKILL": kill_driver,
    "worker SIGKILL": kill_worker,
    "SIGTERM": terminate,
    "Ctrl-C": interrupt,
    "Ctrl-C twice": interrupt_twice,
    "MLflow gone": stop_forwarding,
    "disk full": fill_disk,
    "ledger full": fill_ledger,
    "read-only": make_read_only,
    "out of memory": run_out_of_memory,
    "clock +1 day": _jump(DAY),
    "clock -1 day": _jump(-DAY),
}


def make_room(out):
    """Let disk and ledger take something again."""
    (out / BALLAST).unlink(missing_ok=True)
    (out / LIMIT).unlink(missing_ok=True)


def mend(out):
    """Undo what outlives a process."""
    make_room(out)
    make_writable(out)
