"""Run the skill's evaluation tasks: `python -m tests.e2e.skill_evals [ID ...] [--keep FOLDER]`.

Each task of `trainer/skill/evals/tasks.yaml` gets a fresh folder with what it says is `given`, its
commands are run there by a shell, and what they print, leave and return is compared with what the
task expects. The skill folder must be the same, byte for byte, after every task.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from tests.e2e.shop import make_shop, small_flags

ROOT = Path(__file__).resolve().parents[2]
SKILL = ROOT / "trainer" / "skill"
TASKS = SKILL / "evals" / "tasks.yaml"
TIMEOUT_S = 900
KEYS = {
    "dataset.train_dataset": "data/known_classes/train",
    "dataset.val_dataset.reference": "data/known_classes/reference",
    "dataset.val_dataset.query": "data/known_classes/val",
}
GIVEN = {
    "train-1": "hpo job train --data data $SMALL --set num_epochs=2",
    "export-1": "hpo job export --parent train-1",
    "search": 'hpo automl --skill-dir "$SKILL" --data data $SMALL --set num_epochs=1 '
    "--settings automl_max_recommendations=2 --in-process --yes",
}
"""What a task may start from, and how it comes about; made once and copied."""


def read_tasks():
    """All tasks, in order."""
    return yaml.safe_load(TASKS.read_text())["tasks"]


class Bench:
    """Folders for tasks, and what they may start from.

    Args:
        folder: everything lies below it.
    """

    def __init__(self, folder):
        self.folder = folder
        self.base = folder / "base"
        self.base.mkdir(parents=True)
        make_shop(self.base, 4)
        self.skill = folder / "skill"
        shutil.copytree(SKILL, self.skill)

    def environment(self, skill):
        quoted = " ".join(small_flags())
        data = " ".join(f"--set {key}={path}" for key, path in KEYS.items())
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        return kept | {
            "PATH": path, "PYTHONPATH": str(ROOT), "SKILL": str(skill), "SMALL": quoted,
            "DATA": data, "HPO_CACHE_DIR": str(self.folder / "cache"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "no-credentials"),
        }  # fmt: skip

    def shell(self, folder, command, skill=None):
        skill = skill or self.skill
        return subprocess.run(
            ["bash", "-c", command], cwd=folder, env=self.environment(skill), text=True,
            capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip

    def given(self, name):
        """Make what tasks start from, once."""
        marker = self.base / f".{name}"
        if marker.exists():
            return
        if name == "export-1":
            self.given("train-1")
        done = self.shell(self.base, GIVEN[name])
        assert done.returncode == 0, f"{name}: {done.stderr[-2000:]}"
        marker.touch()

    def fresh(self, task):
        """A folder of a task with the data and what else it is given."""
        folder = self.folder / task["id"]
        folder.mkdir()
        wanted = task.get("given", [])
        for name in wanted:
            self.given(name)
        if "no data" not in task:
            (folder / "data").symlink_to(self.base / "data")
        for kept in ("results", "runs"):
            if wanted and (self.base / kept).exists():
                shutil.copytree(self.base / kept, folder / kept, symlinks=True)
        return folder

    def run(self, task):
        """Run a task; returns what is wrong, nothing when all is as expected."""
        folder = self.fresh(task)
        skill = self.skill
        if "without" in task:
            skill = folder / "skill"
            shutil.copytree(SKILL, skill)
            (skill / task["without"]).unlink()
        before = digest(skill)
        problems = []
        for step in task["steps"]:
            done = self.shell(folder, step["run"], skill)
            (folder / "last.txt").write_text(f"{done.stdout}\n--- stderr\n{done.stderr}")
            problems += compare(step, done)
            if problems:
                break
        problems += look(task, folder)
        if digest(skill) != before:
            problems.append("the skill folder was changed")
        return problems


def digest(folder):
    """One digest of all files of a folder."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


def compare(step, done):
    """Exit code, output and JSON of one command against what is expected."""
    problems = []
    if done.returncode != step.get("exit", 0):
        tail = done.stderr.strip().splitlines()[-3:]
        problems.append(f"exit code {done.returncode}, wanted {step.get('exit', 0)}: {tail}")
    for stream in ("stdout", "stderr"):
        text = getattr(done, stream)
        problems += [
            f"{stream} lacks {pattern!r}: ...{text[-300:]!r}"
            for pattern in step.get(stream, [])
            if not re.search(pattern, text, re.MULTILINE)
        ]
    if step.get("one line"):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        if len(lines) != 1:
            problems.append(f"stderr has {len(lines)} lines, wanted one")
    return problems + compare_json(step, done.stdout)


def compare_json(step, text):
    """Events by name, or the one document, against what is expected."""
    problems = []
    if "json" in step:
        try:
            data = json.loads(text)
        except ValueError:
            return [f"stdout is no JSON: {text[:200]!r}"]
        problems += differences(step["json"], data)
    for name, wanted in step.get("events", {}).items():
        try:
            found = [json.loads(line) for line in text.splitlines()]
        except ValueError:
            return ["stdout is not one JSON object a line"]
        same = [event for event in found if event.get("event") == name]
        if not same:
            problems.append(f"no event {name}; there are {sorted({e.get('event') for e in found})}")
        elif differences(wanted or {}, same[-1]):
            problems += differences(wanted, same[-1])
    problems += [
        f"there is an event {name}"
        for name in step.get("no events", [])
        if re.search(rf'"event": "{name}"', text)
    ]
    return problems


def differences(wanted, data):
    """Dotted paths whose values differ; a text beginning with ~ is a pattern."""
    problems = []
    for path, value in wanted.items():
        found = data
        for part in path.split("."):
            if isinstance(found, list):
                found = found[int(part)] if int(part) < len(found) else None
            else:
                found = (found or {}).get(part)
        if isinstance(value, str) and value.startswith("~"):
            fits = re.search(value[1:], str(found)) is not None
        else:
            fits = found == value
        if not fits:
            problems.append(f"{path} is {found!r}, wanted {value!r}")
    return problems


def look(task, folder):
    """Files that must or must not be there."""
    names = [
        p.relative_to(folder).as_posix()
        for top in ("results", "runs")
        for p in (folder / top).rglob("*")
    ]
    problems = [
        f"no file {pattern}"
        for pattern in task.get("files", [])
        if not fnmatch.filter(names, pattern)
    ]
    return problems + [
        f"there is {fnmatch.filter(names, pattern)[0]}"
        for pattern in task.get("absent", [])
        if fnmatch.filter(names, pattern)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ids", nargs="*", help="tasks (default: all)")
    parser.add_argument("--keep", type=Path, help="work in this new folder and leave it")
    options = parser.parse_args()
    tasks = [t for t in read_tasks() if not options.ids or t["id"] in options.ids]
    folder = options.keep or Path(tempfile.mkdtemp(prefix="skill-evals-"))
    bench = Bench(folder.absolute())
    failed = 0
    for task in tasks:
        began = time.monotonic()
        problems = bench.run(task)
        failed += bool(problems)
        word = "FAIL" if problems else "ok"
        print(f"{word:<5}{task['id']:<28}{time.monotonic() - began:6.1f} s", flush=True)
        for problem in problems:
            print(f"     {problem}")
    print(f"{len(tasks) - failed} of {len(tasks)} tasks as expected")
    if options.keep is None:
        shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
