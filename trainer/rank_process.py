"""`trainer.rank_process TASK.json`, as a child: one process of a run on several devices.

The first one is started by `trainer.multi_process` and reports to it; it starts the others, by the
same command line. All of them end when the process that started them is gone.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.durable_files import write_text

LOOK_EVERY_S = 0.5


def main(words: Sequence[str]) -> int:
    """Train as the task says, whose file is the one word, and tell how it went."""
    task = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    is_first = "LOCAL_RANK" not in os.environ
    parent = task["parent"] if is_first else os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO if is_first else logging.WARNING)
    if not is_first:
        return _follow(task, Path(words[0]).parent)
    with os.fdopen(task["epochs"], "w") as epochs, os.fdopen(task["answers"]) as answers:

        def say(**message: Any) -> None:
            epochs.write(json.dumps(message) + "\n")
            epochs.flush()

        def report(epoch: Mapping[str, Any]) -> bool:
            say(epoch=dict(epoch))
            return json.loads(answers.readline() or "false") is True

        def progress(*told: Any) -> None:
            say(progress=told)

        try:
            receipt = _fit(task, report, progress)
        except Exception as error:
            logging.getLogger("trainer").exception("the run has failed")
            say(failure=_describe(error))
            return 1
        say(receipt=receipt)
    return 0


def _follow(task: Mapping[str, Any], folder: Path) -> int:
    """Train as one of the others; the parent finds there what this one fails by."""
    try:
        _fit(task, lambda _epoch: True, None)
    except Exception as error:
        rank = os.environ["LOCAL_RANK"]
        logging.getLogger("trainer").exception("process %s of the run has failed", rank)
        write_text(folder / f"failure_{rank}.json", json.dumps(_describe(error)))
        return 1
    return 0


def _fit(task: Mapping[str, Any], report: Any, progress: Any) -> dict[str, Any]:
    from trainer.spec import parse_spec
    from trainer.training import fit

    resume_from = None if task["resume_from"] is None else Path(task["resume_from"])
    spec, start_epoch = parse_spec(task["spec"], "train"), task["start_epoch"]
    return fit(spec, report, resume_from, start_epoch, progress)


def _describe(error: Exception) -> dict[str, str]:
    """The failure that is sent to the parent: a lost neighbour is no fault of the model's code.

    Gloo raises plain RuntimeErrors that name its sources; NCCL's errors have classes of their own.
    """
    from torch.distributed import DistError

    if isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
        words = f"the run's processes were lost ({error})"
        return {"type": "InfrastructureError", "message": words}
    return {"type": type(error).__name__, "message": str(error)}


def _end_with(parent: int) -> None:
    """Kill the whole group once the process that started this one is gone."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os.killpg(0, signal.SIGKILL)
