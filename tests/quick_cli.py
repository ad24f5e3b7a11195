"""The command line in a process of its own, as if MLflow were not installed: importing it takes seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUDY = "schema_version: 1\nname: quick\ntrainer: tests.quick_trainer:TRAINER\n"


def write_study(folder, text="", **spec):
    """A study file of the quick trainer; `spec` has names with `__` for dots."""
    lines = [f"  {name.replace('__', '.')}: {json.dumps(value)}" for name, value in spec.items()]
    path = folder / "study.yaml"
    path.write_text(STUDY + text + ("spec:\n" + "\n".join(lines) + "\n" if lines else ""))
    return path


def spawn(cwd, *argv, **env):
    """Start `hpo` in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.quick_cli", *map(str, argv)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def call(cwd, *argv, timeout=300, **env):
    """Run `hpo` to its end; returns (exit code, stdout, stderr)."""
    process = spawn(cwd, *argv, **env)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


def events_of(out):
    """What `--json` printed: one strict JSON object a line, and nothing else."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    events = [json.loads(line, parse_constant=refuse) for line in out.splitlines()]
    assert all(isinstance(event, dict) and "event" in event for event in events)
    return events


def main():
    """Run the command line without MLflow."""
    sys.modules["mlflow"] = None
    os.environ.setdefault("HPO_TRAINER_MODULES", "tests")
    from hpo.cli.main import main as hpo_main
    from hpo.tracking import mirror

    mirror.CLOSE_ATTEMPTS = 1
    if {"search", "resume", "automl"} & set(sys.argv):
        from hpo.searching import forecast

        forecast.REHEARSED_TRIALS, forecast.SPEEDS = 1, (1.0,)  # they take longer than the search
    return hpo_main()


if __name__ == "__main__":
    sys.exit(main())
