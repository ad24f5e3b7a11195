"""A working directory and a PYTHONPATH as somebody may have them, with names that others have, too."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from pathlib import Path

from hpo.core.process.imports import PACKAGES

ROOT = Path(__file__).resolve().parents[4]
NAMES = ("trainer", "numpy", "onnx", "types", "random", "logging", "search_spaces", "hpo")


def make_folder(folder: Path) -> Path:
    """A folder whose files must not be imported, and `elsewhere` with packages of our names."""
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"raise ImportError('the wrong {name}')\n")
    for name in PACKAGES:
        package = folder / "elsewhere" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"raise ImportError('another {name}')\n")
    (folder / "mine_alone.py").write_text("WHERE = 'the working directory'\n")
    (folder / "elsewhere" / "mine_elsewhere.py").write_text("WHERE = 'elsewhere'\n")
    return folder


def spare_the_script(folder: Path, path: str) -> None:
    """Remove what pip's own lines of a command import before ours (`re`, which imports `types`).

    Only a PYTHONPATH with the folder in it reaches them; every program of Python dies of it then.
    """
    if any(not part or Path(folder, part) == folder for part in path.split(":") if path):
        (folder / "types.py").unlink()


def paths(folder: Path) -> list[str]:
    """Values of PYTHONPATH; an empty part of one is the working directory."""
    values = ["", str(folder / "elsewhere"), f"{folder / 'elsewhere'}:", ".", str(folder)]
    return [*values, f"{folder}:{folder / 'elsewhere'}"]


def variables(path: str, **changes: str) -> dict[str, str]:
    """This process's variables without Python's own, and PYTHONPATH where there is one."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return {**clean, **({"PYTHONPATH": path} if path else {}), **changes}


def install_commands(folder: Path) -> tuple[str, str]:
    """`hpo` and `ml_recog` as an installer writes them by what pyproject.toml says of this tree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for source, name in project["tool"]["hatch"]["build"]["targets"]["wheel"][
        "force-include"
    ].items():
        if name.endswith(".py"):
            shutil.copy(ROOT / source, folder / name)
    for command, place in project["project"]["scripts"].items():
        module, _, function = place.partition(":")
        script = folder / command
        script.write_text(
            f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
        script.chmod(0o755)
    return str(folder / "hpo"), str(folder / "ml_recog")
