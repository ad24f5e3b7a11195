"""Tells whether the files that training starts from, such as weights, are still the same.

Trials that start from different ones cannot be ranked together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.core.errors import RunError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import value_at
from hpo.run.next_commands import resume_command
from hpo.run.run_dir import RunDir
from hpo.study.skill import load_skill


def describe_start_files(spec: Mapping[str, Any], trainer: Trainer) -> dict[str, str]:
    """Size and digest of each file that a trial reads beside its data, by spec key."""
    return {key: describe_file(path) for key, path in _start_files(spec, trainer).items()}


class StartFiles:
    """Watches the files of one search; looking at one that nobody wrote costs microseconds.

    Args:
        spec: the one that all trials start from.
        trainer: for its skill, which names the keys.
        kept: what `describe_start_files` told when the search began; of a run of an earlier
            release nothing, and nothing is refused then.
        run: of the search.
    """

    def __init__(
        self, spec: Mapping[str, Any], trainer: Trainer, kept: Mapping[str, str], run: RunDir
    ) -> None:
        self._run = run
        self._kept = kept
        self._files = {k: p for k, p in _start_files(spec, trainer).items() if k in kept}
        self._stamps: dict[str, tuple[int, int, int]] = {}

    def demand_same(self) -> None:
        """Look at all of them before a trial starts.

        Raises:
            RunError: one has other contents than when the search began.
        """
        for key, path in self._files.items():
            if not path.is_file():
                continue  # the trial itself tells
            facts = path.stat()
            stamp = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if self._stamps.get(key) == stamp:
                continue
            if (now := describe_file(path)) != self._kept[key]:
                raise RunError(
                    f"{key}: {path} must stay the file that the search began with, and has become "
                    f"another ({self._kept[key]} -> {now}); bring it back, then "
                    f"`{resume_command(self._run)}` goes on, or go on all the same with "
                    f"`{resume_command(self._run, '--force')}`"
                )
            self._stamps[key] = stamp


def _start_files(spec: Mapping[str, Any], trainer: Trainer) -> dict[str, Path]:
    """The local ones: those that the skill lists as files, and as no data, among the inputs."""
    skill, action = load_skill(trainer.skill_dir), getattr(trainer, "action", "train")
    keys = skill.file_inputs(action) - skill.data_entries(action).keys()
    named = {key: value_at(spec, key) for key in sorted(keys)}
    return {k: Path(v) for k, v in named.items() if isinstance(v, str) and Path(v).is_file()}


def describe_file(path: Path) -> str:
    """Size and digest of a file's contents."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return f"{path.stat().st_size} bytes, digest {digest[:12]}"
