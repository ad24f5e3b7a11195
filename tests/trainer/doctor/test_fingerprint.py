"""Near pairs against a plain loop over all pairs."""

import hashlib
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from tests.trainer.doctor.drawing import draw, save
from trainer.doctor import fingerprint, pairs
from trainer.doctor.findings import Item
from trainer.doctor.fingerprint import SIDE, Fingerprint, near_pairs, take_fingerprint


def of(pixels, digest=None):
    data = np.clip(pixels, 0, 255).astype(np.uint8).tobytes()
    spread = float(np.frombuffer(data, np.uint8).std())
    digest = hashlib.blake2b(digest or data, digest_size=16).digest()
    return Fingerprint(digest=digest, width=64, height=64, spread=spread, miniature=data)


def bands(print_):
    """The code of a miniature, bit by bit: is a pixel brighter than the one before?"""
    grey = np.frombuffer(print_.miniature, np.uint8).reshape(SIDE, SIDE).astype(int)
    small = [[grey[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].sum() for x in range(8)] for y in range(8)]
    across = [small[y][x + 1] > small[y][x] for y in range(8) for x in range(7)]
    down = [small[y + 1][x] > small[y][x] for y in range(7) for x in range(8)]
    bits = [*across, *down]
    return [tuple(bits[16 * band : 16 * band + 16]) for band in range(7)]


def slow_pairs(prints):
    usable = [i for i, p in enumerate(prints) if p.miniature and p.spread >= 8]
    codes = {i: bands(prints[i]) for i in usable}
    counts = Counter((band, code) for own in codes.values() for band, code in enumerate(own))
    found = []
    for i in usable:
        for j in (j for j in usable if j > i):
            shared = [b for b in range(7) if codes[i][b] == codes[j][b]]
            if not any(counts[b, codes[i][b]] <= 200 for b in shared):
                continue
            rows = [np.frombuffer(prints[n].miniature, np.uint8) for n in (i, j)]
            if np.corrcoef(*rows)[0, 1] >= 0.985 and prints[i].digest != prints[j].digest:
                found.append((i, j))
    return found


def alike(rng, count, noise):
    base = rng.integers(0, 256, (SIDE, SIDE))
    return [of(base + rng.normal(scale=noise, size=(SIDE, SIDE))) for _ in range(count)]


@pytest.mark.parametrize("many", [199, 200, 201])
def test_pairs_are_those_of_a_loop_over_all(many):
    rng = np.random.default_rng(many)
    groups = [alike(rng, 6, noise) for noise in (1, 4, 9, 12, 16) for _ in range(3)]
    prints = [p for group in groups for p in group]
    still = np.tile(np.arange(0, 256, SIDE), (SIDE, 1))  # one code for all of them
    prints += [of(still, digest=b"%d" % i) for i in range(many)]
    prints += [prints[0], Fingerprint(digest=b"", error="broken"), of(np.full((SIDE, SIDE), 7))]
    order = rng.permutation(len(prints))
    prints = [prints[i] for i in order]
    found = near_pairs(prints)
    assert found == slow_pairs(prints)
    assert len(found) > (0 if many > 200 else many * (many - 1) // 2)


def test_memory_stays_small_where_many_share_a_code():
    """Rows that rise or fall by steps of any size: 8 codes of 175 pictures, 365,000 pairs."""
    rng = np.random.default_rng(2)
    prints = []
    for pattern in range(8):
        falls = np.array([pattern >> (y // 2 % 3) & 1 for y in range(SIDE)], dtype=bool)
        for _ in range(175):
            rows = np.cumsum(rng.exponential(size=(SIDE, SIDE)) ** 3 + 1.0, axis=1)
            rows *= 255 / rows[:, -1:]
            rows[falls] = 255 - rows[falls]
            prints.append(of(rows))
    assert len({bands(p)[0] for p in prints}) == 8
    tracemalloc.start()
    found = near_pairs(prints)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) < 10_000
    assert peak < 40e6


@pytest.mark.parametrize(("most", "is_cut"), [(44, True), (45, True), (46, False)])
def test_very_many_pairs_are_cut_and_the_finding_says_so(monkeypatch, tmp_path, most, is_cut):
    for module in (fingerprint, pairs):
        monkeypatch.setattr(module, "MOST_PAIRS", most)
    files = [save(draw(3), tmp_path / f"{i}.jpg", quality=80 + i)[0] for i in range(10)]
    items = [Item("train", "a", file, take_fingerprint(file)) for file in files]
    (told,) = pairs.pair_findings(items)
    assert told["count"] == 2 * min(most, 45)
    assert told["message"].startswith(f"{min(most, 45)} pairs: nearly the same picture")
    assert (f"of the first {most} such pairs" in told["message"]) == is_cut
