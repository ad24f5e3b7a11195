"""Registers the winner in MLflow's model registry."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.core.own_folder import scratch_folder
from hpo.run.handed_on import REPORT_FILE, checked_report
from hpo.tracking.rows import Study

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "best"
"""`models:/<model_name(study)>@best` is the newest winner of a study."""
PLACE = "model"
NEEDED = ("model.onnx", "gallery.npz")
_MODEL = "artifacts/model.onnx"
"""In the folder of a version."""
_REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow")
TRIAL_TAG = "hpo.trial"
AVERAGE_TAG = "hpo.average_of"
"""Trials whose average the model is; absent where it is one trial's own."""
_STAMP_TAG = "hpo.exported"


def register_winner(client: MlflowClient, study: Study, run_id: str) -> str | None:
    """Store the hand-off as a model of the study's run and register it, where it has changed.

    MLflow copies nothing: each version's files stay in a folder of their own. An ONNX file that
    has not changed is kept once, under several names.

    Args:
        client: of the store.
        study: whose `best/` to take; a gallery that was changed since is another model.
        run_id: the study's own run.

    Returns:
        The number of the version, or None where there is no model to register.
    """
    folder = study.run.best_dir
    if not all((folder / name).is_file() for name in NEEDED):
        return None
    stamp = _digest(folder)
    name = model_name(study.name)
    _ensure_model(client, name)
    found = client.search_model_versions(f"run_id='{run_id}'")
    known = sorted((v for v in found if v.name == name), key=lambda v: int(v.version))
    if known and known[-1].tags.get(_STAMP_TAG) == stamp:
        return str(known[-1].version)
    made = client.create_model_version(
        name,
        source=_store(client, run_id, folder, f"{PLACE}-{stamp}", [str(v.source) for v in known]),
        run_id=run_id,
        tags={_STAMP_TAG: stamp, **_facts(folder)},
        description=f"Winner of {study.run.home.name}; a column `image` of paths or data URIs",
    )
    client.set_registered_model_alias(name, ALIAS, made.version)
    return str(made.version)


def _store(client: MlflowClient, run_id: str, folder: Path, place: str, earlier: list[str]) -> str:
    """Save the model among the run's files, unless it is there; return its address."""
    source = f"{client.get_run(run_id).info.artifact_uri}/{place}"
    here = _local(source)
    if source in earlier and here is not None and (here / "MLmodel").is_file():
        return source
    with scratch_folder("hpo-model") as draft:
        _save(folder, draft / place)
        client.log_artifacts(run_id, str(draft / place), place)
    for other in map(_local, earlier):
        if here is not None and other is not None:
            _share(here / _MODEL, other / _MODEL)
    return source


def _local(address: str) -> Path | None:
    """The folder of an address on this machine; None for another."""
    from mlflow.utils import file_utils

    if "://" in address and not address.startswith("file:"):
        return None
    read: Callable[[str], str] = file_utils.local_file_uri_to_path
    return Path(read(address))


def _share(file: Path, earlier: Path) -> None:
    """Replace a file by a second name of an earlier one that holds the same."""
    with contextlib.suppress(OSError):  # it was removed, or the disk has no such names
        if not file.samefile(earlier) and filecmp.cmp(file, earlier, shallow=False):
            draft = file.with_name(f".{file.name}.link")
            draft.unlink(missing_ok=True)
            os.link(earlier, draft)
            draft.replace(file)


def _digest(folder: Path) -> str:
    """What tells a model with its gallery from others."""
    digest = hashlib.blake2b(digest_size=8)
    for name in NEEDED:
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def model_name(study_name: str) -> str:
    """The name of a study's model, without what MLflow refuses in it or reads otherwise in a link.

    Example: `shelf: "new"?` -> `shelf_ "new"_`.
    """
    return re.sub("[/:?;#]", "_", study_name)


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(
            name, description="Recognition models found by hpo; alias `best` is the newest."
        )


def _facts(folder: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        report = checked_report(json.loads((folder / REPORT_FILE).read_text(encoding="utf-8")))
        told = {TRIAL_TAG: str(report["trial"]), "hpo.value": str(report["value"])}
        average = report.get("average") or {}
        if average.get("is_used"):
            told["hpo.value"] = str(average["value"])
            told[AVERAGE_TAG] = ", ".join(map(str, average["trials"]))
        return told
    return {}


def _save(folder: Path, target: Path) -> None:
    """Write an MLflow model: the code, the ONNX file, the gallery, and what must be installed."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "image")]),
        params=ParamSchema(
            [
                ParamSpec("topk", DataType.long, 1),
                ParamSpec("unknown_at", DataType.double, 0.0),
            ]
        ),
    )
    # An environment without pip, as uv makes them, is no fault.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example.*")
        mlflow.pyfunc.save_model(
            path=str(target),
            python_model=str(Path(__file__).with_name("served_model.py")),
            # As addresses: MLflow reads %20 in a plain path as a space.
            artifacts={name.split(".")[0]: (folder / name).resolve().as_uri() for name in NEEDED},
            pip_requirements=_requirements(),
            signature=signature,
        )
    shutil.rmtree(target / "__pycache__", ignore_errors=True)


def _requirements() -> list[str]:
    """The versions that the winner was checked with."""
    pinned = []
    for name in _REQUIREMENTS:
        try:
            pinned.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            pinned.append(name)
    return pinned
