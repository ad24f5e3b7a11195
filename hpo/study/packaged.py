"""Study files that come with the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten, nest
from hpo.core.text import nearest, shell_word
from hpo.study.spec import StudySpec, load_given_study
from hpo.study.weights import NOTHING

_QUICKSTART = "quickstart.yaml"
_HOLD_PICTURES = (".csv", ".parquet", ".tar", ".tar.gz", ".tgz", ".zip")
_BACKBONE = "model.backbone"
_FREEZES = "train.train_trunk"
"""What the embedded study switches off; a trunk from random weights has to learn."""


def embedded_study(weights: str | None, given: Mapping[str, Any]) -> StudySpec:
    """The study of a search without file and pictures.

    Args:
        weights: what the user starts from; None keeps the study's own.
        given: the spec keys that the user sets. A network among them takes the place of the
            study's weights.
    """
    study = load_given_study(find_study(_QUICKSTART))
    starts_from_nothing = weights == NOTHING or (not weights and _BACKBONE in flatten(given))
    if not starts_from_nothing:
        return study
    kept = {name: value for name, value in flatten(study.spec).items() if name != _FREEZES}
    return replace(study, weights="", spec=nest(kept))


def given_study(given: str | Path) -> StudySpec:
    """Read a study file, or a study that comes with the package, by its name.

    A folder of that name (of pictures, say) hides no packaged study.

    Raises:
        SpecError: there is neither, or the file is wrong.
    """
    path = Path(given)
    is_name = path.name == str(given) and not path.suffix
    names = packaged_studies()
    if not is_name or path.is_file() or (path.exists() and str(given) not in names):
        if path.is_dir() or (path.is_file() and path.name.lower().endswith(_HOLD_PICTURES)):
            what = "a folder" if path.is_dir() else "an archive or a list"
            raise SpecError(
                f"{given}: must be a study file, and is {what}; pictures are given by --data "
                f"{shell_word(given)}"
            )
        return load_given_study(path)
    if str(given) not in names:
        raise SpecError(
            f"{given}: no such file, and none of the studies that come with the package "
            f"({', '.join(names)}){nearest(str(given), names)}"
        )
    return load_given_study(find_study(f"{given}.yaml"))


def packaged_studies() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(file.stem for file in find_study(_QUICKSTART).parent.glob("*.yaml"))


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
