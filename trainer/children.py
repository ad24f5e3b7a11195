"""The one way in which the trainer starts Python in another process, and what runs first in it.

Such a process imports what this one would: no file of the working directory and no other package
`trainer` on PYTHONPATH comes in between. `children.py MODULE WORD...` runs `main(words)` there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path


def command(module: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
    """The command of a module of the trainer, whose `main(words)` returns the exit code."""
    return [sys.executable, "-P", *options, str(Path(__file__).resolve()), module, *words]


def environment() -> dict[str, str]:
    """This process's variables, with those of a child; other libraries' warnings stay warnings."""
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": ""}


def _import_this_trainer() -> None:
    """Import `trainer` from where this file lies."""
    spec = PathFinder.find_spec("trainer", [str(Path(__file__).resolve().parents[1])])
    if spec is None or spec.loader is None:
        raise ImportError(f"{__file__}: lies in no package trainer")
    module = importlib.util.module_from_spec(spec)
    sys.modules["trainer"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _import_this_trainer()
    sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))
