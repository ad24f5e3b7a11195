"""Runs the steps of the check on a GPU, one process each, and puts their results into one file and one table.

    python -m tests.gpu.smoke --out build/gpu_smoke [--seconds 460] [--only STEP ...] [--tiny]

A step writes FOLDER/steps/STEP.json when it ends. A finished or skipped step is not run again; one that failed, or
that no time was left for, is. `--tiny` runs every step with tiny sizes on a CPU, which shows that the steps themselves
work. Exit code 1 says that a step failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 460.0
"""Of all steps together: eight minutes without the start and the end."""
_PATIENCE = 5
"""How much longer a tiny step may take: a CPU may be shared."""
FINISHED = ("done", "skipped")


class Skip(Exception):
    """What a step needs is not on this machine; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where a step works, and how large."""

    out: Path
    tiny: bool

    @property
    def scratch(self) -> Path:
        """A folder for data, runs and caches, shared by the steps."""
        folder = self.out / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One check: `measure(context)` in a module of this folder returns its figures by name."""

    module: str
    measure: str
    limit_s: float
    """It is ended then; it is not begun when less than a third of that is left."""

    def run(self, context: Context) -> dict[str, Any]:
        """Run it in this process and return its entry."""
        began = time.monotonic()
        try:
            measure = getattr(importlib.import_module(f"tests.gpu.{self.module}"), self.measure)
            entry = {"state": "done", "figures": measure(context)}
        except Skip as e:
            entry = {"state": "skipped", "why": str(e)}
        except ModuleNotFoundError as e:
            entry = {"state": "skipped", "why": f"{e.name} is not installed"}
        except Exception as e:  # noqa: BLE001 - a step that fails is a result, and others follow
            traceback.print_exc()
            entry = {"state": "failed", "why": f"{type(e).__name__}: {e}".splitlines()[0]}
        return entry | {"seconds": round(time.monotonic() - began, 1)}


STEPS = {
    "machine": Step(module="machine_steps", measure="machine", limit_s=30),
    "step without waiting": Step(module="training_steps", measure="waits", limit_s=90),
    "neighbours": Step(module="machine_steps", measure="neighbours", limit_s=60),
    "throughput resnet_50": Step(module="training_steps", measure="resnet_50", limit_s=75),
    "throughput lite0": Step(module="training_steps", measure="lite0", limit_s=75),
    "throughput vit_small": Step(module="training_steps", measure="vit_small", limit_s=75),
    "four trials at once": Step(module="sharing_steps", measure="sharing", limit_s=120),
    "two processes, one share each": Step(module="sharing_steps", measure="shares", limit_s=60),
    "out of memory": Step(module="training_steps", measure="out_of_memory", limit_s=60),
    "frozen features": Step(module="training_steps", measure="frozen_features", limit_s=60),
    "engine": Step(module="machine_steps", measure="engine", limit_s=150),
    "two devices": Step(module="training_steps", measure="two_devices", limit_s=90),
    "search": Step(module="machine_steps", measure="search_runs", limit_s=120),
    "search, trials per GPU": Step(module="machine_steps", measure="packed_search", limit_s=120),
}


def entry_file(out: Path, name: str) -> Path:
    """Return the file of a step's result."""
    return out / "steps" / f"{name.replace(' ', '_').replace(',', '')}.json"


def read_entry(out: Path, name: str) -> dict[str, Any] | None:
    """Return what a step wrote, None where it has not ended."""
    file = entry_file(out, name)
    return json.loads(file.read_text()) if file.is_file() else None


def write_entry(out: Path, name: str, entry: dict[str, Any]) -> None:
    """Write a step's result, whole or not at all."""
    file = entry_file(out, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(entry, indent=1) + "\n")
    temporary.replace(file)


def run_alone(name: str, out: Path, *, tiny: bool, seconds: float) -> dict[str, Any]:
    """Run a step in a process of its own and return its entry."""
    command = [sys.executable, "-m", "tests.gpu.smoke", "--out", str(out), "--only", name, "--here"]
    log = out / "steps" / f"{entry_file(out, name).stem}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    entry_file(out, name).unlink(missing_ok=True)
    environment = {**os.environ, "HPO_CACHE_DIR": str((out / "cache").resolve())}
    with log.open("w") as stream:
        process = subprocess.Popen(
            command + ["--tiny"] * tiny,
            cwd=ROOT, env=environment, stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)  # with the processes that the step started
            process.wait()
            return {"state": "failed", "why": f"took more than {seconds:.0f} s", "seconds": seconds}
    entry = read_entry(out, name)
    return entry or {"state": "failed", "why": f"ended with {process.returncode}, see {log}"}


def table(entries: dict[str, dict[str, Any]]) -> str:
    """Return the results as a table in Markdown."""
    lines = ["| step | seconds | result |", "|---|---|---|"]
    for name, entry in entries.items():
        shown = entry.get("why") or "; ".join(f"{k} {v}" for k, v in entry["figures"].items())
        prefix = "" if entry["state"] == "done" else f"{entry['state']}: "
        lines.append(f"| {name} | {entry.get('seconds', 0):.0f} | {prefix}{shown} |")
    return "\n".join(lines) + "\n"


def run_all(out: Path, *, tiny: bool, seconds: float, only: list[str]) -> int:
    """Run what has not ended yet, in time, and write all results."""
    out.mkdir(parents=True, exist_ok=True)
    end, entries = time.monotonic() + seconds, {}
    for name, step in STEPS.items():
        entry = read_entry(out, name)
        if name not in only and (entry is None or entry["state"] not in FINISHED):
            continue
        if entry is None or entry["state"] not in FINISHED:
            left, limit_s = end - time.monotonic(), step.limit_s * (_PATIENCE if tiny else 1)
            if left < limit_s / 3:
                entry = {"state": "not begun", "why": "no time was left; call again"}
            else:
                entry = run_alone(name, out, tiny=tiny, seconds=min(left, limit_s))
                write_entry(out, name, entry)
        entries[name] = entry
        print(f"{name}: {entry['state']} {entry.get('why', '')}", flush=True)
    (out / "result.json").write_text(json.dumps(entries, indent=1) + "\n")
    (out / "table.md").write_text(table(entries))
    print(table(entries), end="")
    return int(any(entry["state"] == "failed" for entry in entries.values()))


def main(words: list[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--here", action="store_true", help="run the steps in this process")
    args = parser.parse_args(words)
    if not args.here:
        return run_all(args.out, tiny=args.tiny, seconds=args.seconds, only=args.only)
    for name in args.only:
        context = Context(out=args.out, tiny=args.tiny)
        write_entry(args.out, name, STEPS[name].run(context))
    return 0


if __name__ == "__main__":
    # Under this name the module would be a second one beside the one that the steps import.
    from tests.gpu import smoke

    sys.exit(smoke.main())
