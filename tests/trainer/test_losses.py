"""Every loss against a slow, obvious computation over single pairs, triplets or classes."""

import math
from itertools import product

import pytest
import torch
from torch.nn import functional

from trainer.config.loss import MINED_LOSSES, WEIGHTED_LOSSES
from trainer.errors import SpecError
from trainer.losses import build_loss, read_loss, start_from_means
from trainer.spec import parse_spec

CLASSES, DIM = 3, 5
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])


@pytest.fixture
def emb():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(len(LABELS), DIM, generator=generator, dtype=torch.float32) * 3


def spec_of(**changes):
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return parse_spec(dotted, "train", is_complete=False)


def built(**changes):
    torch.manual_seed(0)
    return build_loss(spec_of(**changes), CLASSES, DIM)


def distance(a, b):
    return (functional.normalize(a, dim=0) - functional.normalize(b, dim=0)).norm().item()


def cosine(a, b):
    return functional.cosine_similarity(a, b, dim=0).item()


def positive_pairs():
    n = len(LABELS)
    return [(i, j) for i, j in product(range(n), range(n)) if i != j and LABELS[i] == LABELS[j]]


def negative_pairs():
    n = len(LABELS)
    return [(i, j) for i, j in product(range(n), range(n)) if LABELS[i] != LABELS[j]]


@pytest.mark.parametrize("smooth", [True, False])
def test_triplet(emb, smooth):
    loss, miner = built(train__optim__triplet_loss_margin=0.3, train__smooth_loss=smooth)
    values = []
    for (a, p), (b, n) in product(positive_pairs(), negative_pairs()):
        if a == b:
            gap = distance(emb[a], emb[p]) - distance(emb[a], emb[n]) + 0.3
            values.append(math.log1p(math.exp(gap)) if smooth else max(gap, 0.0))
    above = [v for v in values if v > 0]
    assert loss(emb, LABELS).item() == pytest.approx(sum(above) / len(above), rel=1e-5)
    assert type(miner).__name__ == "MultiSimilarityMiner"


def test_the_miner_keeps_pairs_within_the_margin_of_the_hardest(emb):
    _, miner = built(train__optim__miner_function_margin=0.2)
    a1, p, a2, n = miner(emb, LABELS)
    positives, negatives = set(), set()
    for i in range(len(LABELS)):
        own = [cosine(emb[i], emb[j]) for k, j in positive_pairs() if k == i]
        other = [cosine(emb[i], emb[j]) for k, j in negative_pairs() if k == i]
        positives |= {
            (i, j) for k, j in positive_pairs()
            if k == i and cosine(emb[i], emb[j]) - 0.2 < max(other)
        }  # fmt: skip
        negatives |= {
            (i, j) for k, j in negative_pairs()
            if k == i and cosine(emb[i], emb[j]) + 0.2 > min(own)
        }  # fmt: skip
    assert set(zip(a1.tolist(), p.tolist(), strict=True)) == positives
    assert set(zip(a2.tolist(), n.tolist(), strict=True)) == negatives


def test_contrastive(emb):
    loss, _ = built(
        train__loss__name="contrastive",
        train__loss__contrastive__pos_margin=0.2,
        train__loss__contrastive__neg_margin=1.3,
    )
    near = [max(distance(emb[i], emb[j]) - 0.2, 0) for i, j in positive_pairs()]
    far = [max(1.3 - distance(emb[i], emb[j]), 0) for i, j in negative_pairs()]
    total = sum(sum(v for v in part) / sum(v > 0 for v in part) for part in (near, far))
    assert loss(emb, LABELS).item() == pytest.approx(total, rel=1e-5)


def test_multi_similarity(emb):
    loss, _ = built(
        train__loss__name="multi_similarity",
        train__loss__multi_similarity__alpha=3.0,
        train__loss__multi_similarity__beta=20.0,
        train__loss__multi_similarity__base=0.4,
    )
    total = 0.0
    for i in range(len(LABELS)):
        own = sum(
            math.exp(-3 * (cosine(emb[i], emb[j]) - 0.4)) for k, j in positive_pairs() if k == i
        )
        other = sum(
            math.exp(20 * (cosine(emb[i], emb[j]) - 0.4)) for k, j in negative_pairs() if k == i
        )
        total += math.log1p(own) / 3 + math.log1p(other) / 20
    assert loss(emb, LABELS).item() == pytest.approx(total / len(LABELS), rel=1e-5)


def test_ntxent(emb):
    loss, _ = built(train__loss__name="ntxent", train__loss__ntxent__temperature=0.3)
    values = []
    for i, j in positive_pairs():
        own = math.exp(cosine(emb[i], emb[j]) / 0.3)
        other = sum(math.exp(cosine(emb[i], emb[n]) / 0.3) for k, n in negative_pairs() if k == i)
        values.append(-math.log(own / (own + other)))
    assert loss(emb, LABELS).item() == pytest.approx(sum(values) / len(values), rel=1e-4)


def softmax_loss(logits, label):
    return -logits[label] + math.log(sum(math.exp(v - max(logits)) for v in logits)) + max(logits)


def test_normalized_softmax(emb):
    loss, miner = built(
        train__loss__name="normalized_softmax", train__loss__normalized_softmax__temperature=0.2
    )
    vectors = loss.W.detach().T
    values = [
        softmax_loss([cosine(row, v) / 0.2 for v in vectors], label)
        for row, label in zip(emb, LABELS.tolist(), strict=True)
    ]
    assert loss(emb, LABELS).item() == pytest.approx(sum(values) / len(values), rel=1e-4)
    assert miner is None


def arcface(vectors_per_class, emb, margin, scale):
    values = []
    for row, label in zip(emb, LABELS.tolist(), strict=True):
        cosines = [max(cosine(row, v) for v in own) for own in vectors_per_class]
        moved = math.cos(math.acos(cosines[label]) + math.radians(margin))
        beyond = cosines[label] <= math.cos(math.pi - math.radians(margin))
        if beyond:  # keeps the cost falling where the angle passes half a turn
            moved = cosines[label] - math.radians(margin) * math.sin(math.radians(margin))
        logits = [scale * (moved if c == label else cosines[c]) for c in range(CLASSES)]
        values.append(softmax_loss(logits, label))
    return sum(values) / len(values)


def test_arcface(emb):
    loss, _ = built(
        train__loss__name="arcface",
        train__loss__arcface__margin=20.0,
        train__loss__arcface__scale=8.0,
    )
    per_class = [[v] for v in loss.W.detach().T]
    assert loss(emb, LABELS).item() == pytest.approx(arcface(per_class, emb, 20.0, 8.0), rel=1e-4)


def test_subcenter_arcface(emb):
    loss, _ = built(
        train__loss__name="subcenter_arcface",
        train__loss__subcenter_arcface__margin=15.0,
        train__loss__subcenter_arcface__scale=6.0,
        train__loss__subcenter_arcface__sub_centers=2,
    )
    vectors = list(loss.W.detach().T)
    per_class = [vectors[2 * c : 2 * c + 2] for c in range(CLASSES)]
    assert loss(emb, LABELS).item() == pytest.approx(arcface(per_class, emb, 15.0, 6.0), rel=1e-4)


def test_proxy_anchor(emb):
    loss, _ = built(
        train__loss__name="proxy_anchor",
        train__loss__proxy_anchor__margin=0.2,
        train__loss__proxy_anchor__alpha=10.0,
    )
    pulled, pushed = 0.0, 0.0
    for c, proxy in enumerate(loss.proxies.detach()):
        own = sum(
            math.exp(-10 * (cosine(e, proxy) - 0.2))
            for e, k in zip(emb, LABELS, strict=True)
            if k == c
        )
        other = sum(
            math.exp(10 * (cosine(e, proxy) + 0.2))
            for e, k in zip(emb, LABELS, strict=True)
            if k != c
        )
        pulled += math.log1p(own)
        pushed += math.log1p(other)
    assert loss(emb, LABELS).item() == pytest.approx((pulled + pushed) / CLASSES, rel=1e-4)


@pytest.mark.parametrize("name", ["normalized_softmax", "arcface", "subcenter_arcface"])
def test_smoothed_labels_give_every_class_its_share(emb, name):
    smoothing = {"train__loss__label_smoothing": 0.3}
    options = {"train__loss__name": name, f"train__loss__{name}__margin": 20.0}
    if name == "normalized_softmax":
        del options[f"train__loss__{name}__margin"]
    plain, smooth = built(**options)[0], built(**options, **smoothing)[0]
    seen = []
    smooth.cross_entropy.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    value = smooth(emb, LABELS).item()
    costs = [
        sum(
            (0.7 * (c == label) + 0.3 / CLASSES) * softmax_loss(row.tolist(), c)
            for c in range(CLASSES)
        )
        for row, label in zip(seen[0], LABELS.tolist(), strict=True)
    ]
    assert value == pytest.approx(sum(costs) / len(costs), rel=1e-4)
    assert value != pytest.approx(plain(emb, LABELS).item(), rel=1e-3)


@pytest.mark.parametrize("name", WEIGHTED_LOSSES)
def test_class_vectors_start_from_the_means_of_their_class(emb, name):
    loss, _ = built(train__loss__name=name)
    held = loss.proxies if name == "proxy_anchor" else loss.W.T
    before = held.detach().clone()
    start_from_means(loss, emb, LABELS)
    per_class = len(held) // CLASSES
    assert per_class == (3 if name == "subcenter_arcface" else 1)
    for number, vector in enumerate(held.detach()):
        label, part = divmod(number, per_class)
        own = [
            functional.normalize(row, dim=0)
            for row, k in zip(emb, LABELS, strict=True)
            if k == label
        ]
        share = own[part::per_class] or [own[part % len(own)]]
        mean = sum(share) / len(share)
        assert cosine(vector, mean) == pytest.approx(1.0, abs=1e-5)
        assert vector.norm().item() == pytest.approx(before[number].norm().item(), rel=1e-5)


def batches(count, size=4):
    generator = torch.Generator().manual_seed(11)
    for _ in range(count):
        labels = torch.randint(0, CLASSES, (size,), generator=generator)
        yield torch.randn(size, DIM, generator=generator), labels


def test_a_memory_compares_each_batch_with_the_newest_embeddings():
    """A ring of 10 under batches of 4: it fills in the third batch and wraps within batches."""
    loss, miner = built(
        train__loss__name="contrastive", train__loss__contrastive__neg_margin=1.4,
        train__loss__memory_size=10, train__optim__miner_function_margin=2.0, train__batch_size=8,
    )  # fmt: skip
    assert miner is None
    held = []
    for emb_ND, labels_N in batches(6):
        held = (held + list(zip(emb_ND, labels_N.tolist(), strict=True)))[-10:]
        near, far = [], []
        for place in range(len(held) - 4, len(held)):
            anchor, label = held[place]
            for other, (entry, its_label) in enumerate(held):
                gap = distance(anchor, entry)
                if its_label == label and other != place:
                    near.append(gap)
                elif its_label != label:
                    far.append(max(1.4 - gap, 0.0))
        parts = ([v for v in part if v > 0] for part in (near, far))
        expected = sum(sum(part) / len(part) for part in parts if part)
        assert loss(emb_ND, labels_N, None).item() == pytest.approx(expected, rel=1e-4)


def test_a_memory_that_is_put_back_goes_on_where_it_stood():
    options = {"train__loss__memory_size": 10, "train__batch_size": 8}
    whole, first, rest = (built(**options)[0] for _ in range(3))
    given = list(batches(6))
    values = [whole(*batch, None).item() for batch in given]
    for batch in given[:4]:
        first(*batch, None)
    rest.load_state_dict(first.state_dict())
    assert [rest(*batch, None).item() for batch in given[4:]] == values[4:]
    assert values[4] > 0


READ_BACK = {
    "train.optim.triplet_loss_margin": 0.7,
    "train.smooth_loss": False,
    "train.loss.contrastive.pos_margin": 0.1,
    "train.loss.contrastive.neg_margin": 0.9,
    "train.loss.multi_similarity.alpha": 1.5,
    "train.loss.multi_similarity.beta": 30.0,
    "train.loss.multi_similarity.base": 0.2,
    "train.loss.ntxent.temperature": 0.5,
    "train.loss.arcface.margin": 12.5,
    "train.loss.arcface.scale": 20.0,
    "train.loss.subcenter_arcface.margin": 33.3,
    "train.loss.subcenter_arcface.scale": 10.0,
    "train.loss.subcenter_arcface.sub_centers": 4,
    "train.loss.proxy_anchor.margin": 0.3,
    "train.loss.proxy_anchor.alpha": 12.0,
    "train.loss.normalized_softmax.temperature": 0.4,
}
READ_BACK_OF_ALL = {
    "train.loss.memory_size": (128, ("triplet", "contrastive", "multi_similarity", "ntxent")),
    "train.loss.label_smoothing": (0.2, ("arcface", "subcenter_arcface", "normalized_softmax")),
}


@pytest.mark.parametrize("key", READ_BACK)
def test_what_a_loss_holds_is_read_back_from_it(key):
    parts = key.split(".")
    name = parts[2] if parts[1] == "loss" else "triplet"
    loss, _ = build_loss(
        parse_spec({key: READ_BACK[key], "train.loss.name": name}, "train", is_complete=False),
        CLASSES, DIM,
    )  # fmt: skip
    applied = read_loss(loss)
    assert applied["train.loss.name"] == name
    assert applied[key] == pytest.approx(READ_BACK[key])


@pytest.mark.parametrize("key", READ_BACK_OF_ALL)
def test_what_several_losses_hold_is_read_back_from_each(key):
    value, names = READ_BACK_OF_ALL[key]
    for name in WEIGHTED_LOSSES + MINED_LOSSES:
        spec = parse_spec({key: value, "train.loss.name": name}, "train", is_complete=False)
        applied = read_loss(build_loss(spec, CLASSES, DIM)[0])
        assert applied["train.loss.name"] == name
        assert applied.get(key) == (value if name in names else None)


def test_an_unknown_loss_names_the_legal_ones():
    with pytest.raises(SpecError, match=r"triplet.*ntxent"):
        spec_of(train__loss__name="tripplet")
