"""Checks the types of what a Python caller passes; what is wrong is one `AutoMLError`."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from hpo.automl.errors import AutoMLError
from hpo.automl.settings import WORDS
from hpo.core.spec_dicts import plain
from hpo.core.text import one_line, quoted


def check_path(value: Any, where: str) -> None:
    """Refuse what names no file or folder."""
    is_path = isinstance(value, str | os.PathLike) and str(value)
    if not is_path or "\0" in str(value):
        raise AutoMLError(f"{where}: must be the path of a folder or file, got {shown(value)}")


def check_text(value: Any, where: str) -> None:
    """Refuse what is no text."""
    if not isinstance(value, str):
        raise AutoMLError(f"{where}: must be text, got {shown(value)}")


def check_mapping(value: Any, where: str) -> None:
    """Refuse what has no keys; None stands for none."""
    if value is not None and not isinstance(value, Mapping):
        raise AutoMLError(f"{where}: must be a mapping of keys, got {shown(value)}")


def check_spec(value: Any, where: str) -> None:
    """Refuse spec keys that are no text, and values that no file of a spec can hold."""
    check_mapping(value, where)
    for name, found in (value or {}).items():
        if not isinstance(name, str):
            raise AutoMLError(f"{where}: its keys must be text, got {shown(name)}")
        _check_plain(plain(found), f"{where}.{name}")


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for name, found in value.items():
            _check_plain(found, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for place, found in enumerate(value):
            _check_plain(found, f"{where}[{place}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise AutoMLError(f"{where}: must be finite, got {value}")
    elif value is not None and not isinstance(value, str | int | float | os.PathLike):
        raise AutoMLError(
            f"{where}: must be text, a number, true, false, None, or a list or mapping of these, "
            f"got {shown(value)}"
        )


def check_names(value: Any, where: str) -> None:
    """Refuse what is no list of names; None stands for the usual ones."""
    is_list = isinstance(value, list | tuple | set | frozenset) and value
    if value is not None and not (is_list and all(isinstance(name, str) for name in value)):
        raise AutoMLError(f"{where}: must be None or a list of dotted names, got {shown(value)}")


def digests_of(arguments: Mapping[str, Any]) -> dict[str, str]:
    """What tells other values of arguments; none can be found by it, as some are secrets."""
    texts = {name: _text_of(value) for name, value in arguments.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:6] for name, text in texts.items()}


def _text_of(value: Any) -> str:
    """A value as text that is the same in another process."""
    try:
        return json.dumps(value, sort_keys=True, default=lambda item: type(item).__name__)
    except (TypeError, ValueError):
        return type(value).__name__


def describe_others(begun: Mapping[str, str] | None, arguments: Mapping[str, Any]) -> str:
    """In what arguments differ from those whose digests were kept; empty where they do not.

    None stands for a search whose arguments are not known.
    """
    if begun is None:
        return ""
    now = digests_of(arguments)
    words = {
        "is missing": begun.keys() - now.keys(),
        "is new": now.keys() - begun.keys(),
        "is another": {name for name in begun.keys() & now.keys() if begun[name] != now[name]},
    }
    told = [f"{name} {word}" for word, names in words.items() for name in sorted(names)]
    return ", ".join(told)


def check_truth(value: Any, where: str) -> None:
    """Refuse what is neither true nor false: the text "no" would be taken for true."""
    if not isinstance(value, bool):
        raise AutoMLError(f"{where}: must be true or false, got {shown(value)}")


def check_functions(functions: Mapping[str, Any]) -> None:
    """Refuse what cannot be called, before trials fail by it; None stands for none."""
    for where, value in functions.items():
        if value is not None and not callable(value):
            raise AutoMLError(f"{where}: must be a function or None, got {shown(value)}")


def check_platform(value: Any) -> None:
    """Refuse what cannot run jobs, before the first one; None stands for this machine."""
    if value is None:
        return
    if isinstance(value, type):
        raise AutoMLError(f"sdk: must be an object, got the class; give {value.__name__}(...)")
    names = ("create_job", "create_python_job")
    creates = [name for name in names if getattr(value, name, None) is not None]
    needed = [*(creates or ["create_job"]), "get_job_status", "get_job_logs"]
    if missing := [name for name in needed if not callable(getattr(value, name, None))]:
        raise AutoMLError(f"sdk: must have {', '.join(missing)}, got {shown(value)}")


def text_of(value: Any, where: str) -> str:
    """A path or an address as text; None says nothing."""
    text = "" if value is None else os.fspath(value) if isinstance(value, os.PathLike) else value
    check_text(text, where)
    return str(text)


def check_listeners(value: Any) -> None:
    """Refuse what is no list of functions that make listeners."""
    if not isinstance(value, list | tuple) or not all(map(callable, value)):
        raise AutoMLError(f"listeners: must be a list of functions, got {shown(value)}")


def check_hours(value: Any, where: str) -> None:
    """Refuse what is no time; None stands for no limit."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and value > 0):
        raise AutoMLError(f"{where}: must be a number of hours above 0, got {shown(value)}")


def is_wandb_on(config: Any) -> bool:
    """Whether Weights & Biases is asked for.

    Raises:
        AutoMLError: for what is no configuration of it.
    """
    check_mapping(config, "wandb_config")
    value = (config or {}).get("enabled") or False
    value = WORDS.get(value.strip().lower(), value) if isinstance(value, str) else value
    if not isinstance(value, bool):
        raise AutoMLError(f"wandb_config.enabled: must be true or false, got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """A value as a message quotes it, in one line."""
    try:
        return one_line(quoted(value))
    except ValueError:  # a number of too many digits
        return type(value).__name__
