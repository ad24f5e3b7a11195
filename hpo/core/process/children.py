"""The one way in which this project starts Python in another process.

    subprocess.Popen(children.own("trainer.rank_process", file), env=children.environment())

Such a process imports what this one would: no file of the working directory comes in between. It
gets the user's own variables back when it has started (`hpo.core.process.imports.settle`).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from hpo.core.process.search_path import ordered

_START = Path(__file__).with_name("start.py").resolve()
_BOUND = Path(__file__).with_name("bound.py").resolve()
COMMANDS = Path(sys.executable).parent
"""Where the commands of this environment lie."""

_GIVEN = "HPO_GIVEN_ENVIRONMENT"
_VARIABLES = (
    *("PYTHONPATH", "PYTHONSAFEPATH", "PYTHONWARNINGS"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
)
"""What a child is given its own values of."""


def own(module: str, *words: str) -> list[str]:
    """The command of a module of ours, whose `main(words)` returns the exit code."""
    return python(str(_START), module, *words)


def bound(module: str, *words: str) -> list[str]:
    """The command of any module, whose process group ends when this process is gone."""
    return python(str(_BOUND), str(os.getpid()), module, *words)


def python(*words: str) -> list[str]:
    """The command of this interpreter, without the working directory among its folders."""
    return [sys.executable, "-P", *words]


def environment() -> dict[str, str]:
    """This process's variables, with those that a child of ours needs laid over them."""
    return {**os.environ, **variables()}


def variables() -> dict[str, str]:
    """What makes a child search the folders that this process searches, in the right order.

    Among them are the user's own values, see `restore_environment`.
    """
    given = {name: os.environ.get(name) for name in _VARIABLES}
    return {
        _GIVEN: os.environ.get(_GIVEN) or json.dumps(given),
        "PYTHONPATH": os.pathsep.join(ordered()),
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": ",".join(
            filter(is_harmless, os.environ.get("PYTHONWARNINGS", "").split(","))
        ),
    }


def restore_environment() -> None:
    """Give the variables back the values that the user has set, once this process has started."""
    for name, value in json.loads(os.environ.pop(_GIVEN, "{}")).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def is_harmless(option: str) -> bool:
    """Whether a value of `-W` leaves warnings what they are."""
    action = option.partition(":")[0].strip()
    return not action or not "error".startswith(action)
