"""Study files that come with the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten, nest
from hpo.study.spec import StudySpec, load_given_study
from hpo.study.weights import NOTHING

QUICKSTART = "quickstart.yaml"


_OWN_MODEL = "model.backbone"
"""What the embedded study chose for its pictures; weights bring their own."""


def embedded_study(weights: str | None) -> StudySpec:
    """The study of a search without file and pictures, on the model of `weights` if given."""
    study = load_given_study(find_study(QUICKSTART))
    if not weights or weights == NOTHING:
        return study
    kept = {name: value for name, value in flatten(study.spec).items() if name != _OWN_MODEL}
    return replace(study, spec=nest(kept))


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
