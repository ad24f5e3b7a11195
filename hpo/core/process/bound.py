"""Runs a module as `python -m` does, and ends with the process that started it.

`python bound.py PARENT MODULE WORD...`; standard library alone, and no folder is searched for it.
"""

import os
import runpy
import signal
import sys
import threading
import time

LOOK_EVERY_S = 0.2


def main(words: list[str]) -> None:
    """Run the module; its process group is killed once the parent is gone."""
    parent, module = int(words[0]), words[1]
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    sys.argv = words[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
