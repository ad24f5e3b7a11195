"""Weight files of the model hub and of torchvision: from their caches, or fetched when reachable.

A hub that cannot be reached is said within seconds; huggingface_hub alone would try for half a
minute.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from trainer.data.location import exclusive, torch_hub_folder
from trainer.durable_files import remove_drafts
from trainer.errors import CheckpointError, first_line

_KEY = "model.pretrained_trunk_path"
_PATIENCE_S = 4.0
"""For the first answer of a host, name lookup included."""
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")

AtHand = Callable[[], str]

logger = logging.getLogger(__name__)


def fetch_first(repository: str, names: Sequence[str], address: str, at_hand: AtHand) -> Path:
    """Return the first of some files that a hub's repository has, from the cache if it is there.

    Args:
        repository: `ORG/NAME`, or `ORG/NAME@REVISION`.
        names: of files, the best first.
        address: what the user wrote, for messages.
        at_hand: says which weights can be used instead.

    Raises:
        CheckpointError: it is not in the cache, and the hub has no such file or cannot be reached.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    place, _, revision = repository.partition("@")
    for name in names:
        found = try_to_load_from_cache(place, name, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    if constants.HF_HUB_OFFLINE:
        raise _unreachable(address, "HF_HUB_OFFLINE is set, and it is not in the cache", at_hand)
    _demand_answer(constants.ENDPOINT, address, at_hand)
    for name in names:
        try:
            logger.info("fetching %s of %s", name, place)
            return Path(hf_hub_download(place, name, revision=revision or None))
        except LocalEntryNotFoundError as e:
            raise _unreachable(address, "the hub does not answer", at_hand) from e
        except EntryNotFoundError:
            continue
        except (OSError, ValueError) as e:
            raise CheckpointError(f"{_KEY}: {address} could not be fetched: {first_line(e)}") from e
    raise CheckpointError(f"{_KEY}: {address}: {place} has none of {', '.join(names)}")


def fetch_url(url: str, address: str, at_hand: AtHand) -> Path:
    """Return the file of a URL, from torch's cache of weights if it is there.

    Raises:
        CheckpointError: it is not in the cache, and cannot be fetched.
    """
    name = url.rpartition("/")[2]
    target = torch_hub_folder() / "checkpoints" / name
    if target.is_file():
        return target
    _demand_answer(url, address, at_hand)
    try:
        with exclusive(target.with_name(f".{name}.lock")):
            remove_drafts(target.parent, name)  # of one that was killed here
            if not target.is_file():
                _fetch(url, target, address)
    except OSError as e:
        raise CheckpointError(f"{_KEY}: {address} could not be fetched: {first_line(e)}") from e
    return target


def _fetch(url: str, target: Path, address: str) -> None:
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        logger.info("fetching %s", url)
        with urllib.request.urlopen(url, timeout=60) as answer, draft.open("wb") as file:  # noqa: S310 - of torchvision's or timm's own table
            shutil.copyfileobj(answer, file)
        _check_hash(draft, target.name, address)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def cached_weights() -> dict[str, Path]:
    """Address -> file of the weights in the caches of the hub and of torchvision, sorted."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    found = {}
    for name in ("pytorch_model.bin", "model.safetensors"):
        for file in cache.glob(f"models--*/snapshots/*/{name}"):
            _, org, *rest = file.parents[2].name.split("--")
            model = "--".join(rest)
            found[f"timm://{model}" if org == "timm" else f"hf-hub:{org}/{model}"] = file
    checkpoints = torch_hub_folder() / "checkpoints"
    found |= {str(path): path for path in checkpoints.glob("*.pth")}
    return dict(sorted(found.items()))


def _demand_answer(url: str, address: str, at_hand: AtHand) -> None:
    """Wait a moment for any answer of a host.

    Raises:
        CheckpointError: there is none.
    """
    heard: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - see fetch_url
        try:
            urllib.request.urlopen(request, timeout=_PATIENCE_S).close()  # noqa: S310
        except urllib.error.HTTPError as refusal:
            refusal.close()  # an answer too
        except OSError:
            return
        heard.append(True)

    # Name lookup knows no time limit, so it is left behind in its thread.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE_S + 1.0)
    if not heard:
        host = url.split("/")[2]
        raise _unreachable(address, f"{host} does not answer", at_hand)


def _unreachable(address: str, why: str, at_hand: AtHand) -> CheckpointError:
    return CheckpointError(
        f"{_KEY}: {address} could not be fetched: {why}; fetch it elsewhere and name the file, or "
        f"name what is at hand ({at_hand()})"
    )


def _check_hash(file: Path, name: str, address: str) -> None:
    wanted = _HASH_IN_NAME.search(name)
    with file.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if wanted and not got.startswith(wanted[1]):
        raise CheckpointError(
            f"{_KEY}: {address} was fetched damaged: its digest must begin with {wanted[1]}, and "
            f"begins with {got[: len(wanted[1])]}; try again"
        )
