import tracemalloc

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from tests.trainer.data.planted import plant_bursts
from trainer.data.bursts import _candidates, find_bursts
from trainer.data.folder import scan_folder
from trainer.data.groups import group_pictures


def test_200_planted_bursts_are_found_whole_and_apart(tmp_path):
    bursts = plant_bursts(tmp_path / "all", classes=10, objects=20, shots=3, seed=5)
    folder = scan_folder(tmp_path / "all")
    group = dict(zip(folder.paths, group_pictures([folder], "near-duplicates"), strict=True))
    found = [{group[str(p.relative_to(folder.root))] for p in own} for own in bursts.values()]
    assert len(found) == 200
    assert all(len(numbers) == 1 for numbers in found)
    assert len(set().union(*found)) == 200


def test_plain_and_broken_pictures_belong_to_none(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(4)]
    for file in files[:2]:
        Image.new("RGB", (40, 40), (200, 200, 200)).save(file)
    files[2].write_bytes(b"no picture")
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(files[3])
    assert find_bursts(files, np.zeros(4, dtype=np.int64)).shape == (0, 2)


def test_two_classes_must_be_more_alike(tmp_path):
    rng = np.random.default_rng(3)
    base = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).resize((64, 64))
    other = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).resize((64, 64))
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    base.save(files[0])
    Image.blend(base, other, 0.25).save(files[1])
    assert find_bursts(files, np.array([0, 0])).tolist() == [[0, 1]]
    assert find_bursts(files, np.array([0, 1])).tolist() == []


def slow_candidates(miniatures):
    """Each picture with the five others whose blurred miniatures are most like it or its middle."""

    def blurred(images):
        rows = images.reshape(len(images), 8, 4, 8, 4).mean(axis=(2, 4)).reshape(len(images), -1)
        rows = rows - rows.mean(axis=1, keepdims=True)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)

    def middle(image):
        along = np.arange(32) * 0.88 + 15.5 * 0.12
        down, across = np.meshgrid(along, along, indexing="ij")
        return map_coordinates(image.astype(np.float64), (down, across), order=1)

    whole, found = blurred(miniatures), set()
    for asked in (whole, blurred(np.stack([middle(image) for image in miniatures]))):
        for i, row in enumerate(asked):
            alike = [(float(row @ other), -j) for j, other in enumerate(whole) if j != i]
            found |= {(min(i, -j), max(i, -j)) for value, j in sorted(alike)[-5:] if value >= 0.6}
    return sorted(found)


@pytest.mark.parametrize("count", [2, 5, 6, 7, 300])
def test_candidates_are_those_of_a_loop_over_all(count, monkeypatch):
    monkeypatch.setattr("trainer.data.bursts._BLOCK", 64)
    rng = np.random.default_rng(count)
    bases = rng.uniform(0, 255, (1 + count // 7, 8, 8))
    coarse = bases[rng.integers(0, len(bases), count)] + rng.normal(scale=30, size=(count, 8, 8))
    miniatures = np.kron(coarse, np.ones((4, 4))).astype(np.float32)
    found = [tuple(pair) for pair in _candidates(miniatures).tolist()]
    assert found == slow_candidates(miniatures)
    assert found


def test_pictures_without_a_blurred_shape_are_no_candidates():
    checks = np.indices((32, 32)).sum(axis=0) % 2 * 200.0
    assert _candidates(np.stack([checks] * 9).astype(np.float32)).tolist() == []


def test_candidates_take_little_memory(monkeypatch):
    monkeypatch.setattr("trainer.proposals.BLOCK_BYTES", 8 << 20)
    peaks = []
    for count in (2000, 6000):
        miniatures = np.random.default_rng(1).uniform(0, 255, (count, 32, 32)).astype(np.float32)
        tracemalloc.start()
        _candidates(miniatures)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 4000 * 5000  # bytes a picture, however many there are
