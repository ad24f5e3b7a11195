"""The order in which folders are searched for modules.

Of the standard library it imports what the interpreter has imported before: a `types.py` in a
folder that comes first would be taken for the standard library's.
"""

import os
import sys

NEEDED = (
    *("yaml", "jsonschema", "numpy", "scipy", "PIL"),
    *("optuna", "sqlalchemy", "ray", "mlflow", "rich", "plotly", "pandas", "jinja2", "shtab"),
    *("torch", "torchvision", "pytorch_lightning", "lightning_fabric", "pytorch_metric_learning"),
    *("timm", "safetensors", "faiss", "sklearn", "fsspec", "onnx", "onnxruntime", "onnxscript"),
)
"""Packages that ours import."""

ROOT = os.path.realpath(f"{__file__}/../../../..")
"""Where our packages lie."""
_STANDARD = os.path.dirname(os.__file__)


def ordered() -> list[str]:
    """The folders of `sys.path`: the standard library's, others, those that hide what we need.

    Last are the working directory and folders with a file such as `numpy.py`, or with another
    `hpo`, which would be imported in place of ours. Other modules in them can still be imported.
    """
    folders = [os.path.abspath(folder) for folder in sys.path if folder]
    here = _working_directory()
    return sorted(folders, key=lambda folder: _place(folder, here))


def _place(folder: str, here: str) -> int:
    if folder in (_STANDARD, os.path.join(_STANDARD, "lib-dynload")):
        return 0
    return 2 if os.path.realpath(folder) == here or comes_last(folder) else 1


def _working_directory() -> str:
    try:
        return os.path.realpath(os.getcwd())
    except FileNotFoundError:  # it has been removed
        return ""


def comes_last(folder: str) -> bool:
    """Whether a folder hides what we need, so that it is searched behind all others."""
    return bool(hidden_by(folder)) or holds_another_hpo(folder)


def hidden_by(folder: str) -> list[str]:
    """The packages in whose place a file of a folder would be imported."""
    try:
        files = set(os.listdir(folder))
    except OSError:
        return []
    return [name for name in NEEDED if f"{name}.py" in files]


def holds_another_hpo(folder: str) -> bool:
    """Whether `hpo` would be imported from a folder, and would not be ours.

    A process that is ours has a finder for our other packages; this is for the time before.
    """
    files = (os.path.join(folder, "hpo.py"), os.path.join(folder, "hpo", "__init__.py"))
    return os.path.realpath(folder) != ROOT and any(map(os.path.isfile, files))
