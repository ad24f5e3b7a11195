"""The commands `hpo` and `ml_recog`, installed as the module `hpo_recognition`.

That is nobody else's name: imported as `hpo`, another package on PYTHONPATH might be found.
"""

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
_SIGN = os.path.join("hpo", "core", "process", "start.py")


def hpo() -> int:
    """Run the command `hpo`."""
    import_ours()
    from hpo.core.process import start

    return start.hpo()


def ml_recog() -> int:
    """Run the command `ml_recog`."""
    import_ours()
    from hpo.core.process import start

    return start.ml_recog()


def import_ours() -> None:
    """Import `hpo` from where it is installed: beside this file, or named last in `sys.path`.

    The latter is so where the sources are used in place.
    """
    folders = [_HERE, *reversed(sys.path)]
    own = [folder for folder in folders if os.path.isfile(os.path.join(folder, _SIGN))]
    given = sys.path[:]
    sys.path[:0] = own[:1]
    try:
        __import__("hpo")  # later imports find it in sys.modules
    finally:
        sys.path[:] = given
