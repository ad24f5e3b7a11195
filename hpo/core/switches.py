"""Reads switches of the environment: variables that are on unless they say otherwise."""

from __future__ import annotations

import functools
import logging
import os

from hpo.core.text import quoted

_OFF = ("off", "0", "no", "false")
_ON = ("", "on", "1", "yes", "true")
logger = logging.getLogger(__name__)


def is_switched_off(variable: str) -> bool:
    """Whether a variable is set to off; an unknown word counts as on, with one warning."""
    word = os.environ.get(variable, "").strip().lower()
    if word not in (*_OFF, *_ON):
        _warn(variable, word)
    return word in _OFF


@functools.cache
def _warn(variable: str, word: str) -> None:
    known = "on (1, yes, true) or off (0, no, false)"
    logger.warning("%s: must be %s, got %s; it is taken for on", variable, known, quoted(word))
