"""Fetches a run's remote sources to this machine once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.protocols import Trainer
from hpo.run.plain_files import write_json
from hpo.study.plan import as_user_errors

_STAGING_FILE = Path("evaluations") / "data_staging.json"


def stage_sources(sources: Mapping[str, Any], trainer: Trainer, workspace: Path) -> None:
    """Fetch and unpack what is no local folder, through the trainer, and keep a record.

    Args:
        sources: dotted data key -> source or list of sources, as `resolve_data_sources` gives.
        trainer: whose `stage` fetches and unpacks.
        workspace: run directory; `evaluations/data_staging.json` is written in it.

    Raises:
        DataError: nothing there, damaged, or refused for lack of credentials.
    """
    done: dict[str, dict[str, Any]] = {}
    record: dict[str, Any] = {}
    for key, value in sources.items():
        several = value if isinstance(value, list) else [value]
        for source in filter(None, several):
            if source not in done:
                done[source] = _stage(key, str(source), trainer)
        record[key] = [done[source] for source in several if source]
    write_json(workspace / _STAGING_FILE, {"staged": time.time(), "sources": record})


def _stage(key: str, source: str, trainer: Trainer) -> dict[str, Any]:
    began = time.monotonic()
    with as_user_errors(key):
        folder = str(trainer.stage(source))
    return {"source": source, "folder": folder, "seconds": round(time.monotonic() - began, 3)}
