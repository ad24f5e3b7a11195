import numpy as np
from PIL import Image

from tests.trainer.data.planted import plant_bursts
from trainer.data.bursts import find_bursts
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
