"""Starts the commands `hpo` and `ml_recog`, or a module of ours: `python start.py MODULE WORD...`.

The last runs `main(words)` of the module and ends with what that returns.
"""

import os
import sys

if __name__ == "__main__":
    # Started by its path: this folder goes, and the one that `hpo` lies in is searched, for `hpo`
    # itself before all others.
    _here = os.path.realpath(__file__)
    _root = os.path.realpath(f"{_here}/../../../..")
    _others = [folder for folder in sys.path if folder != os.path.dirname(_here)]
    sys.path[:] = [_root, *_others]
    __import__("hpo")
    sys.path[:] = [*_others, _root]

from hpo.core.process.search_path import ordered

sys.path[:] = ordered()  # before anything else is imported


def hpo() -> int:
    """Run the command `hpo`."""
    return _run("hpo.cli.main")


def ml_recog() -> int:
    """Run the command `ml_recog`."""
    return _run("trainer.cli")


def _run(module: str, *arguments: list[str]) -> int:
    import importlib

    from hpo.core.machine import bound_threads
    from hpo.core.process.extras import explain_missing
    from hpo.core.process.imports import settle
    from hpo.core.process.streams import NAMES, end_output, outlive_readers

    command = os.path.basename(sys.argv[0])
    try:
        settle()
        bound_threads()
        outlive_readers()
        refused: OSError | None = None
        try:
            code = int(importlib.import_module(module).main(*arguments))
        except SystemExit as end:  # argparse has printed the help or an error
            code = end.code if isinstance(end.code, int) else 1
        except OSError as error:
            if error.filename != NAMES[1]:
                raise
            refused = error
        if line := end_output(refused):
            code = 2
            sys.stderr.write(f"{command}: {line}\n")
    except ModuleNotFoundError as error:
        line = explain_missing(error)
        if not line:
            raise
        sys.stderr.write(f"{command}: {line}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], sys.argv[2:]))
