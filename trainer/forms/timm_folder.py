"""A folder that timm loads by `local-dir:`: weights, configuration with preprocessing, a card.

The head is a model's classifier in timm: `timm.create_model("local-dir:FOLDER", pretrained=True)`
maps normalised pictures to embeddings.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.config.model import timm_name
from trainer.data.framing import for_channels
from trainer.data.splits import label_splits, scan_splits
from trainer.durable_files import beside
from trainer.forms.exported import Exported, FormError, demand_replaceable
from trainer.matching import make_entries
from trainer.metrics import class_mean, class_mean_interval
from trainer.models.recognizer import Recognizer
from trainer.models.trunk import timm_facts
from trainer.models.weight_sources import without_folders
from trainer.retrieval import search

LEAST_COSINE = 0.99
_FILES = ("model.safetensors", "config.json", "README.md")


def write_timm_folder(folder: Path, out: Path, name: str) -> dict[str, Any]:
    """Write the folder, load it with timm, and compare embeddings of real pictures.

    Args:
        folder: of the export.
        out: the folder to write; one that this has written before is replaced.
        name: of the model, for its card.

    Returns:
        `folder`, `min_cosine`, `mean_cosine`, `num_images_checked`, and `precision_at_1` with
        `interval` and `queries`, where the spec names queries.

    Raises:
        FormError: the model is none of timm's, the check fails, or `out` holds something else.
    """
    from safetensors.torch import save_file

    kept = out / "README.md"
    is_ours = kept.is_file() and kept.read_text(errors="replace").startswith(_CARD_HEAD)
    demand_replaceable(out, "--timm", _FILES, is_ours=is_ours)
    exported = Exported(folder)
    model, config = _as_timm(exported, exported.load())
    with beside(out, prefix=".") as draft:
        state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
        save_file(state, draft / "model.safetensors", metadata={"format": "pt"})
        (draft / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        found = _compared(exported, draft)
        figures = _figures(exported)
        card = _card(exported, name, config, {**found, **figures})
        (draft / "README.md").write_text(card, encoding="utf-8")
    return {"folder": str(out), **found, **figures}


def _as_timm(exported: Exported, recognizer: Recognizer) -> tuple[Any, dict[str, Any]]:
    """Build timm's own model with the trunk's weights, the head as its classifier."""
    import timm

    spec = exported.spec
    arch = timm_name(spec.model.backbone).partition(".")[0]
    if not arch or spec.model.pooling != "default":
        raise FormError(
            f"--timm: model.backbone must be a timm model with its own pooling, got "
            f"{spec.model.backbone} with model.pooling={spec.model.pooling}"
        )
    size = recognizer.embedding_size
    args: dict[str, Any] = {"in_chans": spec.model.input_channels}
    sides = (spec.model.input_height, spec.model.input_width)
    if timm_facts(arch, sides, spec.model.input_channels).takes_size:
        args["img_size"] = list(sides)
    model: Any = timm.create_model(arch, pretrained=False, num_classes=size, **args)
    classifier = model.get_classifier()
    head = getattr(recognizer.embedder, "last_linear", None)
    if not isinstance(classifier, nn.Linear) or head is None:
        raise FormError(f"--timm: {arch} has no linear classifier that could be the head")
    left = model.load_state_dict(recognizer.trunk.state_dict(), strict=False)
    own = {id(p): key for key, p in model.named_parameters()}
    expected = {own[id(classifier.weight)], own[id(classifier.bias)]}
    if left.unexpected_keys or set(left.missing_keys) != expected:
        raise FormError(f"--timm: the trunk's weights do not fit {arch} as timm builds it")
    with torch.no_grad():
        classifier.weight.copy_(head.weight)
        classifier.bias.copy_(head.bias)
    return model.eval(), _config(exported, arch, model, args)


def _config(exported: Exported, arch: str, model: Any, args: dict[str, Any]) -> dict[str, Any]:
    spec = exported.spec
    dataset, channels = spec.dataset, spec.model.input_channels
    size = int(model.get_classifier().out_features)
    share = dataset.crop_share
    return {
        "architecture": arch,
        "num_classes": size,
        "num_features": int(model.num_features),
        "model_args": {
            key: value for key, value in args.items() if key != "in_chans" or value != 3
        },
        "pretrained_cfg": {
            "input_size": [channels, spec.model.input_height, spec.model.input_width],
            "fixed_input_size": "img_size" in args,
            "mean": for_channels(dataset.pixel_mean, channels),
            "std": for_channels(dataset.pixel_std, channels),
            "interpolation": dataset.interpolation,
            "crop_pct": share or 1.0,
            "crop_mode": "center" if share else "squash",
            "num_classes": size,
            "first_conv": model.pretrained_cfg.get("first_conv"),
            "classifier": model.pretrained_cfg.get("classifier"),
        },
    }


def _compared(exported: Exported, folder: Path) -> dict[str, Any]:
    """Load the folder as a user of timm would, and embed pictures by its own transform."""
    import timm

    data: Any = timm.data
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = data.create_transform(**data.resolve_model_data_config(model), is_training=False)
    files = exported.pictures()
    with torch.no_grad():
        own = torch.cat([model(transform(exported.upright(file))[None]) for file in files]).numpy()
    return exported.compared(files, own, LEAST_COSINE, "--timm")


def _figures(exported: Exported) -> dict[str, Any]:
    """Precision@1 as the search's report has it: mean over classes, on the spec's own pictures."""
    folders = scan_splits(exported.spec, need_train=False)
    if not {"query", "reference"} <= folders.keys():
        return {}
    labelled = label_splits(exported.spec, folders)
    reference, query = labelled["reference"], labelled["query"]
    gallery, asked = (
        exported.embed(list(split.paths), exported.onnx) for split in (reference, query)
    )
    entries = make_entries(gallery, reference.labels, exported.spec.dataset.matching)
    nearest_Q = search(asked, entries.unit, 1)[0][:, 0]
    hits_Q = entries.labels_E[nearest_Q] == query.labels
    return {
        "precision_at_1": class_mean(hits_Q, query.labels),
        "interval": list(class_mean_interval(hits_Q, query.labels)),
        "queries": len(query.labels),
    }


def _card(exported: Exported, name: str, config: dict[str, Any], found: dict[str, Any]) -> str:
    facts = exported.onnx.facts
    weights, framing = facts.get("weights") or {}, config["pretrained_cfg"]
    start = without_folders(weights.get("address") or "")
    lines = []
    if "precision_at_1" in found:
        low, high = found["interval"]
        is_averaged = exported.spec.dataset.flip_average
        averaged = ", each picture averaged with its mirror image" if is_averaged else ""
        lines.append(
            f"Precision@1 on {found['queries']} validation queries, mean over classes: "
            f"{found['precision_at_1']:.3f} (95 % interval {low:.3f} to {high:.3f}){averaged}"
        )
    shape = " x ".join(map(str, framing["input_size"]))
    lines += [
        f"Input {shape}; {framing['interpolation']}, {framing['crop_mode']}, crop "
        f"{framing['crop_pct']:g}; mean {framing['mean']}, std {framing['std']}",
        f"Loaded by timm and compared with the exported ONNX file on {found['num_images_checked']} "
        f"pictures: cosine {math.floor(found['min_cosine'] * 1e5) / 1e5:.5f} or more",
        f"Training started from: {start or 'random weights'} (licence: "
        f"{weights.get('licence') or 'not known'})",
    ]
    return _CARD.format(
        name=name,
        licence=weights.get("licence") or "other",
        size=config["num_classes"],
        colours="RGB" if framing["input_size"][0] == 3 else "L",
        architecture=config["architecture"],
        classes=len(facts.get("classes") or []),
        facts="\n".join(f"- {line}" for line in lines),
    )


_CARD = """\
---
library_name: timm
tags: [image-feature-extraction, metric-learning]
license: {licence}
---
# {name}

Embeddings of {size} numbers by `{architecture}`, trained by metric learning on {classes} classes.
Pictures of one class lie close by cosine.

```python
import timm
from timm.data import create_transform, resolve_model_data_config

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
transform = create_transform(**resolve_model_data_config(model), is_training=False)
embedding = model(transform(picture.convert("{colours}"))[None])
```

{facts}

The validation pictures chose this model, so a figure on new pictures may be lower.
"""
_CARD_HEAD = _CARD.partition("{licence}")[0]
"""By which a card of ours is known."""
