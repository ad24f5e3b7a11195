"""Stores what a TensorRT engine was made from in a file beside it: engines hold no metadata.

Of ONNX files the same stands in their metadata (`trainer.onnx_model.add_metadata`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.durable_files import write_text
from trainer.errors import CheckpointError


def facts_file(engine: Path) -> Path:
    """Where the facts of an engine stand: `model.engine.json` of `model.engine`."""
    return engine.with_name(f"{engine.name}.json")


def write_facts(engine: Path, facts: Mapping[str, Any]) -> None:
    """Write what the ONNX file says of which an engine was built."""
    write_text(facts_file(engine), json.dumps(dict(facts), indent=1))


def read_facts(engine: Path) -> dict[str, Any]:
    """Return the facts of an engine; none for one of another maker, or one that was copied alone.

    Raises:
        CheckpointError: the file is damaged.
    """
    file = facts_file(engine)
    if not file.is_file():
        return {}
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: must be what the engine was made from: {error}") from error
    if not isinstance(facts, dict):
        raise CheckpointError(f"{file}: must be what the engine was made from; build it again")
    return facts
