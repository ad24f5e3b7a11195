"""Calls a method of the trainer in a worker, and once more where that worker was lost."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from hpo.core.errors import HpoError
from hpo.core.protocols import Executor

logger = logging.getLogger(__name__)


def call_twice(executor: Executor, method: str, spec: Mapping[str, Any], *more: Any) -> Any:
    """Return what the method gives.

    Raises:
        Exception: what the method raised; the second loss of a worker.
    """
    try:
        return executor.call(method, spec, *more)
    except HpoError as error:
        if getattr(error, "kind", "") != "infrastructure":
            raise
        logger.warning("%s: %s; trying once more", method, error)
        return executor.call(method, spec, *more)
