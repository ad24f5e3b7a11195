"""Asks timm and torchvision, in a process of its own, about their models and published weights.

Both import torch, which takes seconds and which a harness that only plans must not hold. Answers
are kept in the cache folder until one of the two packages changes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainer import children
from trainer.config.model import TIMM_PREFIX
from trainer.config.names import nearest
from trainer.data.location import cache_settings
from trainer.errors import InfrastructureError, SpecError
from trainer.kept_json import kept_or_made
from trainer.models.preprocessing import preprocessing_facts

_LONGEST_S = 300
_SHOWN = 4

TRUNK = "trunk"
"""A question about a model of timm, in place of weights."""

Facts = dict[str, Any]


def ask(library: str, name: str, *, where: str = "") -> Facts:
    """Return what is known of published weights, or of a model.

    Args:
        library: `timm` or `torchvision`, or `trunk`.
        name: of a timm model, with or without the name of its weights (`resnet50.a1_in1k`), or
            of torchvision's weights (`ResNet50_Weights.IMAGENET1K_V2`). Of a trunk: its backbone,
            height, width and channels (`timm/resnet50 224 224 3`).
        where: what a message starts with.

    Returns:
        `timm_model`, `preprocessing` (see `Preprocessing`), `licence`, `hub` (repository of
        timm's hub, or None) and `url` (where there is no repository). Of a trunk the fields of
        `trainer.models.trunk_facts.TrunkFacts`.

    Raises:
        SpecError: there are no such weights or model; the nearest names are told.
    """
    is_loaded = _package(library) in sys.modules  # then nothing is spared by another process
    answer = _ANSWERS[library](name) if is_loaded else _kept(library, name)
    if "error" in answer:
        raise SpecError(f"{where}: {answer['error']}" if where else answer["error"])
    return answer


def _package(library: str) -> str:
    """The package that answers."""
    return "timm" if library == TRUNK else library


def _kept(library: str, name: str) -> Facts:
    """Return the answer of an earlier question, else ask."""
    packages = [version(package) for package in ("timm", "torchvision")]
    digest = hashlib.sha256(repr((3, library, name, packages)).encode()).hexdigest()[:24]
    file = cache_settings().folder / "weight_facts" / f"{digest}.json"
    return kept_or_made(file, (dict,), lambda: _asked(library, name), lambda it: "error" not in it)


def _asked(library: str, name: str) -> Facts:
    options = () if _is_compiled(_package(library)) else _keep_bytecode()
    command = children.command("trainer.models.weight_facts", library, name, options=options)
    environment = children.environment()
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
            env=environment,
        )
        answer: Facts = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, IndexError, ValueError) as e:
        raise InfrastructureError(f"{library} could not be asked about {name}") from e
    return answer


def _is_compiled(library: str) -> bool:
    spec = importlib.util.find_spec(library)
    return spec is not None and spec.cached is not None and Path(spec.cached).is_file()


def _keep_bytecode() -> tuple[str, str]:
    """Without compiled modules timm alone takes seconds more to import."""
    return "-X", f"pycache_prefix={cache_settings().folder / 'bytecode'}"


def _of_timm(name: str) -> Facts:
    import timm
    from timm.models import get_pretrained_cfg

    arch = name.partition(".")[0]
    if not timm.is_model(arch):
        guess = _nearest(name, timm.list_models())
        return {"error": f"timm://{name} is not a model of timm {timm.__version__}{guess}"}
    cfg = (
        get_pretrained_cfg(name)
        if name in timm.list_pretrained(f"{arch}*") or name == arch
        else None
    )
    if cfg is None or not (cfg.hf_hub_id or cfg.url):
        others = timm.list_pretrained(f"{arch}.*")
        known = f"; it has {', '.join(others[:_SHOWN])}" if others else ""
        known = known or _nearest(name, timm.list_pretrained())
        return {
            "error": f"timm://{name} has no published weights in timm {timm.__version__}{known}"
        }
    own = asdict(cfg)
    return {
        "timm_model": f"{arch}.{cfg.tag}" if cfg.tag else arch,
        "preprocessing": preprocessing_facts(own),
        "licence": own.get("license"),
        "hub": cfg.hf_hub_id,
        "url": cfg.url,
    }


def _of_torchvision(name: str) -> Facts:
    from torchvision import models

    builder = name.partition(".")[0].removesuffix("_Weights").lower()
    known = models.list_models(module=models)
    try:
        found = models.get_weight(name)
    except (ValueError, AttributeError, KeyError):
        names = [str(w) for model in known for w in models.get_model_weights(model)]
        return {"error": f"torchvision://{name}: no such weights{_nearest(name, names)}"}
    if not _has_equal_keys(builder):
        return {
            "error": f"torchvision://{name}: timm has no model with the keys of torchvision's "
            f"{builder}; the weights of timm://{builder} or a like model may do"
        }
    how = found.transforms()
    size, resized = how.crop_size[0], how.resize_size[0]
    return {
        "timm_model": builder,
        "preprocessing": {
            "mean": list(how.mean),
            "std": list(how.std),
            "interpolation": how.interpolation.value,
            # Rounded down, so that size / share rounded down is the size that they resize to.
            "crop_share": int(size / resized * 1e6) / 1e6,
            "height": size,
            "width": size,
        },
        "licence": None,
        "hub": None,
        "url": found.url,
    }


def _has_equal_keys(builder: str) -> bool:
    """Whether timm's model of the same name has torchvision's keys and shapes."""
    import timm
    import torch
    from torchvision import models

    if not timm.is_model(builder):
        return False
    with torch.device("meta"):
        theirs = models.get_model(builder, weights=None).state_dict()
        timms = timm.create_model(builder, pretrained=False).state_dict()
    return {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in timms.items()}


def _of_trunk(name: str) -> Facts:
    from trainer.models.trunk import timm_facts

    backbone, *numbers = name.split()
    height, width, channels = map(int, numbers)
    try:
        facts = timm_facts(backbone.removeprefix(TIMM_PREFIX), (height, width), channels)
    except SpecError as error:
        return {"error": str(error)}
    return {
        "grows": facts.takes_smaller,
        "needs_small_steps": facts.has_layer_norm,
        "has_batch_norm": facts.has_batch_norm,
        "has_layers": facts.has_layers,
    }


def _nearest(name: str, names: list[str]) -> str:
    guess = nearest(name, names, {})
    if not guess:
        import difflib

        guess = difflib.get_close_matches(name, names, n=_SHOWN, cutoff=0.5)
    return f"; nearest names: {', '.join(guess)}" if guess else ""


_ANSWERS: Mapping[str, Callable[[str], Facts]] = {
    "timm": _of_timm,
    "torchvision": _of_torchvision,
    TRUNK: _of_trunk,
}


def main(words: Sequence[str]) -> int:
    """Answer `<library> <name>` in one line of JSON."""
    library, name = words
    sys.stdout.write(json.dumps(_ANSWERS[library](name)) + "\n")
    return 0
