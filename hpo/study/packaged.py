"""Study files that come with the package."""

from __future__ import annotations

from pathlib import Path

from hpo.core.errors import SpecError

QUICKSTART = "quickstart.yaml"


def find_study(name: str) -> Path:
    """A study file that comes with the package.

    Raises:
        SpecError: when the installation lacks it.
    """
    import hpo

    package = Path(hpo.__file__).resolve().parent
    for folder in (package / "studies", package.parent / "studies"):
        if (folder / name).is_file():
            return folder / name
    raise SpecError(f"{name}: the embedded study is missing from this installation")
