"""Fetches a run's remote sources to this machine once."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.errors import DataError
from hpo.core.protocols import Trainer
from hpo.jobs.data_sources import check_present, is_local
from hpo.run.run_dir import write_atomically
from hpo.study.plan import as_user_errors

_STAGING_FILE = Path("evaluations") / "data_staging.json"


def stage_sources(
    sources: Mapping[str, Any], trainer: Trainer | None, workspace: Path
) -> dict[str, Any]:
    """Fetch and unpack what is no local folder, through the trainer, and keep a record.

    Args:
        sources: dotted data key -> source or list of sources, as `resolve_data_sources` gives.
        trainer: whose `stage` fetches and unpacks; None leaves archives to the skill's command.
        workspace: run directory; `evaluations/data_staging.json` is written in it.

    Returns:
        The same keys with local folders.

    Raises:
        DataError: nothing there, damaged, refused for lack of credentials, or an address where no
            trainer could fetch it.
    """
    done: dict[str, dict[str, Any]] = {}
    staged: dict[str, Any] = {}
    record: dict[str, Any] = {}
    for key, value in sources.items():
        several = value if isinstance(value, list) else [value]
        for source in filter(None, several):
            if source not in done:
                done[source] = _stage(key, str(source), trainer)
        folders = [done[source]["folder"] if source else "" for source in several]
        staged[key] = folders if isinstance(value, list) else folders[0]
        record[key] = [done[source] for source in several if source]
    text = json.dumps({"staged": time.time(), "sources": record}, indent=1) + "\n"
    write_atomically(workspace / _STAGING_FILE, text)
    return staged


def _stage(key: str, source: str, trainer: Trainer | None) -> dict[str, Any]:
    began = time.monotonic()
    if trainer is None:
        if not is_local(source):
            raise DataError(f"{key}: {source}: only a registered trainer can fetch addresses")
        check_present(key, source)
        folder = source
    else:
        with as_user_errors(key):
            folder = str(trainer.stage(source))
    return {"source": source, "folder": folder, "seconds": round(time.monotonic() - began, 3)}
