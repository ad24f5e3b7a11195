"""Mirrors epochs to Weights & Biases when spec, package and key allow."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.spec import spec_to_dict

if TYPE_CHECKING:
    from trainer.config.root import Spec

Mirror = Callable[[Mapping[str, Any]], None]
"""Called with each reported epoch."""

_NO_MIRROR: tuple[Mirror, Callable[[], None]] = (lambda _epoch: None, lambda: None)

logger = logging.getLogger(__name__)


def start_mirror(spec: Spec, folder: Path) -> tuple[Mirror, Callable[[], None]]:
    """Begin a run there, or warn once why not and return functions that do nothing.

    Nothing that goes wrong with the service ends a training run.

    Args:
        spec: `wandb` says whether and how; the whole spec is shown as the run's configuration.
        folder: where the package keeps its files.

    Returns:
        A function that hears each reported epoch, and one that ends the run there.
    """
    if not spec.wandb.enable:
        return _NO_MIRROR
    if importlib.util.find_spec("wandb") is None:
        logger.warning("wandb.enable: the wandb package is not installed, nothing is mirrored")
        return _NO_MIRROR
    asked = spec.wandb
    try:
        import wandb

        if wandb.api.api_key is None:
            logger.warning("wandb.enable: no key is set (`wandb login`), nothing is mirrored")
            return _NO_MIRROR
        run = wandb.init(
            project=asked.project,
            entity=asked.entity or None,
            group=asked.group or None,
            tags=list(asked.tags),
            name=asked.name,
            id=asked.run_id or None,
            resume="allow" if asked.run_id else None,
            reinit=asked.reinit,
            save_code=asked.save_code,
            dir=str(folder),
            config=spec_to_dict(spec),
        )
    except Exception as e:  # noqa: BLE001 - a mirror never ends a run
        logger.warning("wandb: the run could not be started, nothing is mirrored: %s", e)
        return _NO_MIRROR
    return _guarded(run)


def _guarded(run: Any) -> tuple[Mirror, Callable[[], None]]:
    def log(epoch: Mapping[str, Any]) -> None:
        try:
            run.log({**epoch["metrics"], "seconds": epoch["seconds"]}, step=epoch["epoch"])
        except Exception as e:  # noqa: BLE001 - a mirror never ends a run
            logger.warning("wandb: epoch %d was not mirrored: %s", epoch["epoch"], e)

    def finish() -> None:
        try:
            run.finish()
        except Exception as e:  # noqa: BLE001 - a mirror never ends a run
            logger.warning("wandb: the run was not ended there: %s", e)

    return log, finish
