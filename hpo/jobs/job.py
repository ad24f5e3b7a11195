"""A job's folder `<root>/results/<job_id>/`: record, spec, log, and whether it is running.

```
<root>/results/export-2/
  job.json  spec.yaml  log.txt
  ...       what the action writes
```
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from hpo.core.errors import NoRunError, RunError
from hpo.core.spec_dicts import relocated
from hpo.core.text import nearest
from hpo.core.yaml_io import read_yaml
from hpo.run.lock_file import hold, is_locked
from hpo.run.plain_files import write_json

JOB_FILE = "job.json"
SPEC_FILE = "spec.yaml"
COMMAND_SPEC_FILE = "command_spec.yaml"
"""What the trainer reads where `spec.yaml` holds keys that it does not have."""
_LOG_FILE = "log.txt"
_LOCK_FILE = ".lock"
_FROM_BEFORE = re.compile(
    rf"\.lock|(?:command_)?spec\.yaml|\.(?:(?:command_)?spec\.yaml|{JOB_FILE})-[0-9a-f]{{16}}"
)
RESULTS = "results"

PENDING, RUNNING, SUCCESS, FAILURE, CANCELED = (
    "pending", "running", "success", "failure", "canceled",
)  # fmt: skip
ENDED = (SUCCESS, FAILURE, CANCELED)
_NOT_KEPT = ("folder", "moved")
_SPEC_WORD = re.compile(rf"[^/]*(/.*)/(?:{SPEC_FILE}|{COMMAND_SPEC_FILE})")
"""The word of a command that names the job's spec."""
_START_WITHIN_S = 60.0
"""A job whose worker has not begun by then never will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The record of one job."""

    id: str
    action: str
    skill_dir: str
    folder: Path = Path()
    """Where the record lies; not part of it, so that a root can be moved."""
    moved: tuple[str, str] | None = None
    """Old and new place of the job, and of those beside it, where it was moved or copied."""
    network_arch: str = ""
    parent_job_id: str = ""
    checkpoint: str | int = "best_model"
    """Which checkpoint of the parent it starts from."""
    base_checkpoint: str = ""
    """Weights that a training starts from."""
    status: str = PENDING
    exit_code: int | None = None
    message: str = ""
    """Why a job failed, in one line."""
    command: list[str] = field(default_factory=list)
    cwd: str = ""
    """Where the command is run; empty: where its worker was started."""
    page: int = 0
    """Which page of the skill folder the action was taken from; 0 is the training page."""
    own_results_dir: str = ""
    """Where the action writes when that is not the job's own folder."""
    roots: dict[str, str] = field(default_factory=dict)
    adjustments: list[dict[str, Any]] = field(default_factory=list)
    """`{param, from, to, reason}` of values that were changed so that something can be learned."""
    inferred: dict[str, str] = field(default_factory=dict)
    """Spec field -> how its value was found."""
    result: dict[str, Any] = field(default_factory=dict)
    """The single values that the action printed."""
    pid: int | None = None
    created: float = 0.0
    started: float | None = None
    ended: float | None = None

    @property
    def results_dir(self) -> Path:
        """Where the action writes."""
        return Path(self.own_results_dir) if self.own_results_dir else self.folder

    @property
    def spec_file(self) -> Path:
        """The full spec that the command is given."""
        return self.folder / SPEC_FILE

    @property
    def log_file(self) -> Path:
        """Everything that the command wrote to stdout and stderr."""
        return self.folder / _LOG_FILE

    def spec(self) -> dict[str, Any]:
        """Read the spec; empty for a job without one."""
        if not self.spec_file.is_file():
            return {}
        data = read_yaml(self.spec_file)
        if not isinstance(data, dict):
            return {}
        return relocated(data, *self.moved) if self.moved else data

    def to_dict(self) -> dict[str, Any]:
        """Plain data for programs, with absolute paths."""
        return {**_record(self), "folder": str(self.folder), "results_dir": str(self.results_dir)}

    def save(self) -> None:
        """Replace the record in one step."""
        write_json(self.folder / JOB_FILE, _record(self))

    @contextlib.contextmanager
    def lock(self) -> Iterator[int]:
        """Hold the job for one worker; yields the lock's descriptor for its command to inherit.

        Raises:
            RunError: when another worker holds it.
        """
        refusal = f"{self.id}: is running already; wait for it or stop it"
        with hold(self.folder / _LOCK_FILE, lambda: refusal) as lock:
            yield lock


def _record(job: Job) -> dict[str, Any]:
    data = asdict(job)
    for name in _NOT_KEPT:
        del data[name]
    return data


def read_job(folder: Path) -> Job:
    """Read a job's record; one whose worker is gone is a failure, whatever it says.

    Raises:
        RunError: when the record is missing or damaged.
    """
    file = folder / JOB_FILE
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        known = {item.name for item in fields(Job)}.difference(_NOT_KEPT)
        kept = {k: v for k, v in data.items() if k in known}
        job = _at(folder.absolute(), kept)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(
            f"{file}: must be the record of a job, and is missing or damaged; remove {folder}, or "
            "restore it"
        ) from error
    return job if _is_up_to_date(job) else _gone(folder, job)


def _at(folder: Path, kept: dict[str, Any]) -> Job:
    """The job of a record, its paths leading to where it lies now."""
    found = filter(None, map(_SPEC_WORD.fullmatch, kept.get("command", [])))
    old = next((Path(word[1]) for word in found if Path(word[1]).name == kept.get("id")), folder)
    root = folder.parent.parent
    has_siblings = folder.name == old.name and folder.parent.name == old.parent.name == RESULTS
    moved = None
    if old != folder:
        moved = (str(old.parent), str(folder.parent)) if has_siblings else (str(old), str(folder))
        kept = relocated(kept, *moved)
    parent = kept.get("parent_job_id", "")
    if has_siblings and (was := Path(parent)).is_relative_to(old.parent.parent):
        parent = was.relative_to(old.parent.parent)
    if len(Path(parent).parts) > 1 and (root / parent).exists():  # earlier releases kept what was
        kept = {**kept, "parent_job_id": str(root / parent)}  # typed, mostly in the root
    return Job(**kept, folder=folder, moved=moved)


def running_commands(folder: Path) -> dict[str, int]:
    """The process groups of those jobs right below a folder whose commands run, by their names."""
    running = [job for job in _jobs_in(folder) if job.status == RUNNING]
    return {job.folder.name: job.pid for job in running if job.pid is not None}


def _jobs_in(folder: Path) -> Iterator[Job]:
    """The jobs right below a folder; folders without a record, or with a damaged one, are none."""
    for file in sorted(folder.glob(f"[!.]*/{JOB_FILE}")):
        with contextlib.suppress(RunError):
            yield read_job(file.parent)


def _is_up_to_date(job: Job) -> bool:
    is_held = is_locked(job.folder / _LOCK_FILE)  # by a worker, or the command that it started
    if job.status in ENDED or is_held:
        return True
    return job.status == PENDING and time.time() - job.created < _START_WITHIN_S


def _gone(folder: Path, job: Job) -> Job:
    """The record of a job without a worker, unless its end was written in this very moment."""
    data = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
    if data.get("status") in ENDED:
        return replace(job, **{k: data[k] for k in ("status", "exit_code", "message", "ended")})
    what = "never began" if job.status == PENDING else "is gone without a result (killed?)"
    return replace(job, status=FAILURE, message=f"its process {what}")


@contextlib.contextmanager
def new_folder(root: Path, action: str, job_id: str = "") -> Iterator[Path]:
    """Make the folder of a new job, under a given id or the next free `<action>-<n>`.

    Its record is written within; where that fails, what was made is removed. One whose maker was
    killed before it had a record is taken.

    Raises:
        RunError: when the id is taken or is not a folder name, or the root cannot be written.
    """
    results = root.absolute() / RESULTS
    if job_id and (job_id != Path(job_id).name or job_id.startswith(".")):
        raise RunError(f"job id: must be usable as a folder name, got {job_id!r}")
    try:
        results.mkdir(parents=True, exist_ok=True)
        folder = results / job_id if job_id else _next_folder(results, action)
        was_there = bool(job_id) and not _is_made(folder)
    except OSError as error:
        raise RunError(
            f"{results}: cannot hold jobs: {error.strerror}; choose another --root"
        ) from error
    taken = f"{folder.name}: there is such a job in {results} already"
    if not folder.is_dir():
        raise RunError(taken)
    with hold(folder / _LOCK_FILE, lambda: taken):
        before = set(folder.iterdir())
        if not all(map(_is_from_before, before)):
            raise RunError(taken)
        try:
            yield folder
        except BaseException:
            with contextlib.suppress(OSError):
                for path in set(folder.iterdir()) - before if was_there else {folder}:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            raise


def _is_made(folder: Path) -> bool:
    """Make a folder; False where there is one."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _next_folder(results: Path, action: str) -> Path:
    """Make the next free `<action>-<n>`."""
    taken = (p.name.removeprefix(f"{action}-") for p in results.glob(f"{action}-*"))
    number = max((int(n) for n in taken if n.isdecimal()), default=0)
    while True:  # another process may take the same number at the same time
        number += 1
        with contextlib.suppress(FileExistsError):
            (results / f"{action}-{number}").mkdir()
            return results / f"{action}-{number}"


def _is_from_before(path: Path) -> bool:
    """Whether a file in a job's folder is one that its maker writes before the record is there."""
    return path.is_file() and bool(_FROM_BEFORE.fullmatch(path.name))


def list_jobs(root: Path) -> list[Job]:
    """All jobs below a root, the newest last; folders without a record are not jobs."""
    return sorted(_jobs_in(root / RESULTS), key=lambda job: job.created)


def find_job(root: Path, job_id: str, kind: str = "job") -> Job:
    """Find a job by id, or by the path of its folder.

    Args:
        root: whose jobs.
        job_id: id or path.
        kind: what was looked for, in the message.

    Raises:
        NoRunError: when there is none, naming the nearest.
        RunError: when its record is damaged.
    """
    for folder in (root / RESULTS / job_id, Path(job_id)):
        if (folder / JOB_FILE).is_file():
            return read_job(folder)
    known = [job.id for job in list_jobs(root)]
    listed = f"; there are {', '.join(known[-8:])}" if known else "; there are none"
    raise NoRunError(
        f"{job_id}: no such {kind} in {root.absolute() / RESULTS}{nearest(job_id, known) or listed}"
    )
