"""What a train spec builds, read from the live objects: each fact by name, as plain values.

No fact is a value copied out of the spec: rates are those of the optimizer's groups at every step,
losses and pairs are computed on fixed embeddings, a batch is the pixels that training would see.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from trainer.data.batches import RecognitionData, build_data
from trainer.head_first import prepare_head
from trainer.module import RecognitionModule
from trainer.spec import parse_spec
from trainer.training import build_module

_CPU = torch.device("cpu")


def facts(nested: dict[str, Any]) -> dict[str, Any]:
    """Build data, model, loss and optimizer of a spec and describe them.

    Returns:
        `groups` (optimizer and its groups), `rates` (their factor at every step of the run), `loss`
        (on fixed embeddings), `pairs` (that the miner selects among them), `clipped` (norm of a
        large gradient after clipping), `mean` (weights' running mean after a step), `model`
        (weights), `vectors` (of the loss), `output` (its shape), `learns` (parameters with a gradient), `updated`
        (batch norms that a batch changes), `compiled`, `batch`
        (two batches as training sees them), `drawn` (their labels), `gallery` (as evaluation sees
        it), `names` (of classes).
    """
    spec = parse_spec(nested, "train")
    data = build_data(spec, _CPU)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.train.seed)
        module = build_module(spec, data, _CPU)
        prepare_head(module, data, spec, use_bf16=False)
    batches = [batch for _, batch in zip(range(2), data.train_batches(0), strict=False)]
    described = {
        "rates": _rates(module, spec.train.num_epochs),
        "model": _digest(*module.model.state_dict().values()),
        "vectors": _digest(*module.loss.parameters()),
        "output": module.model.embedding_size,
        "learns": sorted(n for n, p in module.model.named_parameters() if p.requires_grad),
        "compiled": module.is_compiled,
        "batch": _digest(*(images for images, _ in batches)),
        "drawn": [labels.tolist() for _, labels in batches],
        "gallery": _digest(*data.eval_batches("reference", 64)),
        "names": _names(data),
        "groups": _groups(module),
        "clipped": _clipped(module),
        "updated": sorted(n for n, m in module.model.named_modules() if _updates(m)),
    }
    return described | _learnt(module) | {"mean": _mean(module)}


def _rates(module: RecognitionModule, num_epochs: int) -> list[float]:
    steps = num_epochs * module.schedule.steps_per_epoch
    return [module.schedule.factor(step) for step in range(steps)]


def _digest(*tensors: torch.Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _names(data: RecognitionData) -> list[str]:
    train, reference = data.train, data.reference
    assert train is not None
    assert reference is not None
    return [*train.class_names, *reference.class_names]


def _groups(module: RecognitionModule) -> tuple[str, list[dict[str, Any]]]:
    kept = ("name", "initial_lr", "weight_decay", "momentum")
    groups = [
        {key: group[key] for key in kept if key in group} for group in module.optimizer.param_groups
    ]
    return type(module.optimizer).__name__, groups


def _updates(part: torch.nn.Module) -> bool:
    """Whether a batch changes the part's statistics."""
    return isinstance(part, torch.nn.BatchNorm2d) and part.training


def _clipped(module: RecognitionModule) -> float:
    for group in module.optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, 10.0)
    module.configure_gradient_clipping(module.optimizer)
    grads = [p.grad for group in module.optimizer.param_groups for p in group["params"]]
    norms = torch.stack([grad.norm() for grad in grads if grad is not None])
    return round(min(torch.linalg.vector_norm(norms).item(), 100.0), 3)


def _learnt(module: RecognitionModule) -> dict[str, Any]:
    """Loss and pairs on fixed embeddings of four classes, whose class vectors are fixed too."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(16) % 4
    centres = torch.randn(4, module.model.embedding_size, generator=generator)
    noise = torch.randn(16, module.model.embedding_size, generator=generator)
    emb = centres[labels] + 0.7 * noise
    with torch.no_grad():
        for parameter in module.loss.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        pairs = None if module.miner is None else module.miner(emb, labels)
        loss = module.loss(emb, labels, pairs).item()
    listed = None if pairs is None else [part.tolist() for part in pairs]
    return {"loss": (type(module.loss).__name__, loss), "pairs": listed}


def _mean(module: RecognitionModule) -> str:
    if module.running_mean is None:
        return "none"
    with torch.no_grad():
        for parameter in module.model.parameters():
            parameter.add_(1.0)
    module.running_mean.update(module.model, 100)
    return _digest(*module.running_mean.model.state_dict().values())
