"""Drivers to kill: the command line in a forked child, so that a start costs no imports."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.crashes import trap
from tests.crashes.trainer import NAME

FLAGS = ("--in-process", "--no-report", "--yes", "--json")
LIMIT_S = 120.0
ROOM_AFTER_S = 1.0
"""A driver that waits for room on the disk gets it so long after the fault."""


@dataclass(frozen=True)
class Start:
    """How one start of a driver ended."""

    code: int
    """Exit code; negative for a signal."""
    out: str
    err: str
    seconds: float


def write_study(
    out,
    *,
    name="quick",
    trials=4,
    epochs=4,
    sleep=0.0,
    trainer=NAME,
    spec=None,
    data=None,
    **search,
):
    """A study file in `out`; returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    values = {"train.num_epochs": epochs} | ({"fault.sleep": sleep} if spec is None else spec)
    study = {
        "schema_version": 1, "name": name, "trainer": trainer, "budget": trials, "concurrent": 1,
        "data": data or {}, "spec": values, "search": {"confirm": 1, "seed": 0} | search,
    }  # fmt: skip
    path = out / "study.yaml"
    path.write_text(json.dumps(study))
    return path


def warm_up(folder, *, with_mlflow=False):
    """Import everything by one small search, so that children find it in memory."""
    import hpo.run.disk_space
    import hpo.searching.forecast
    import hpo.tracking.mirror

    hpo.tracking.mirror.CLOSE_ATTEMPTS = 1
    hpo.searching.forecast.REHEARSED_TRIALS = 1  # a rehearsal takes longer than the search
    hpo.searching.forecast.SPEEDS = (1.0,)
    hpo.run.disk_space._SCARCE_WAIT_S = 2 * ROOM_AFTER_S
    if with_mlflow:
        import mlflow  # noqa: F401
    else:
        sys.modules["mlflow"] = None  # to import it and to make its store takes seconds
    study = write_study(folder, trials=2, epochs=1)
    started = run_hpo(folder, "search", study, *FLAGS, fork=False)
    assert started.code == 0, started.err


def logs_of(out):
    """Where the output of drivers lies: beside the folder of runs, whose disk may be full."""
    return out.with_name(f"{out.name}-logs")


def run_hpo(out, *words, fork=True, while_running=lambda pid: None, limit_s=LIMIT_S):
    """Run `hpo WORDS --out OUT` to its end, in a child of this process."""
    from hpo.cli.main import main

    os.environ["HPO_MEMORY"] = "off"  # a search that is compared must not learn from the other
    argv = [str(word) for word in (*words, "--out", out)]
    began = time.monotonic()
    logs = logs_of(out)
    logs.mkdir(exist_ok=True)
    log = logs / f"start-{len(list(logs.glob('start-*.out'))):03d}"
    if not fork:
        code = _with_output(log, lambda: main(argv))
    else:
        pid = os.fork()
        if pid == 0:
            _become_driver(out, log, argv)
        code = _wait(pid, out, while_running, limit_s)
    files = (log.with_suffix(".out"), log.with_suffix(".err"))
    said = [file.read_text(errors="replace") if file.exists() else "" for file in files]
    return Start(code, *said, time.monotonic() - began)


def _with_output(log, call):
    """Call with stdout and stderr of the process in files, then as before."""
    kept = [os.dup(n) for n in (1, 2)]
    _redirect(log)
    try:
        return call()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in enumerate(kept, 1):
            os.dup2(copy, number)
            os.close(copy)


def _redirect(log):
    sys.stdout.flush()
    sys.stderr.flush()
    for number, suffix in ((1, ".out"), (2, ".err")):
        target = os.open(log.with_suffix(suffix), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(target, number)
        os.close(target)


def _become_driver(out, log, argv):
    """The child's life; it never returns."""
    from hpo.cli.main import main
    from tests.crashes.hooks import Hooks

    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _redirect(log)
        obey_permissions()
        (out / trap.DRIVER).write_text(str(os.getpid()))
        Hooks(out).install()
        code = main(argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - told on stderr and by the exit code
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _wait(pid, out, while_running, limit_s):
    until = time.monotonic() + limit_s
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 124
        happened = trap.sprung(out)
        if happened is not None and time.time() - happened > ROOM_AFTER_S:
            trap.make_room(out)
        while_running(pid)
        time.sleep(0.01)


# What needs the kernel ---------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_PRIVATE_ALL = 0x20000, (1 << 18) | (1 << 14)
MS_RDONLY, MS_REMOUNT = 1, 32
_DAC = 0b110
"""The capabilities by which root passes over permissions."""


def obey_permissions():
    """Let permissions hold for root too, as they do for everybody else."""
    if os.geteuid() != 0:
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    _libc.capget(header, data)
    data[0] &= ~_DAC
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if _libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def on_small_disk(folder, size_mib, work):
    """Run `work()` in a child that sees a file system of so many MiB at `folder`; see `on_disk`."""
    return on_disk(folder, f"size={size_mib}m", work)


def on_disk(folder, options, work, *, fill=lambda: None, is_read_only=False):
    """Run `work()` in a child that sees a file system of its own at `folder`.

    Args:
        options: of tmpfs, such as `size=1m` or `nr_inodes=3`.
        fill: puts files there before.
        is_read_only: whether it is mounted anew after that, for reading alone.

    Returns its result as text, or None where this machine does not let a process mount one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder.with_name(folder.name + ".answer")
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            if _mount(folder, options):
                fill()
                if is_read_only:
                    _remount_for_reading(folder)
                answer.write_text(work())
                code = 0
        except BaseException:  # noqa: BLE001 - told on stderr and by the exit code
            traceback.print_exc()
            code = 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 3:
        return None
    assert code == 0, "the child on the small disk failed"
    return answer.read_text()


def _remount_for_reading(folder):
    if _libc.mount(b"none", bytes(Path(folder)), None, MS_REMOUNT | MS_RDONLY, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def _mount(folder, options):
    if _libc.unshare(CLONE_NEWNS) != 0:
        return False
    if _libc.mount(b"none", b"/", None, MS_PRIVATE_ALL, None) != 0:
        return False
    return _libc.mount(b"tmpfs", bytes(Path(folder)), b"tmpfs", 0, options.encode()) == 0
