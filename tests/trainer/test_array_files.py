import zipfile

import numpy as np
import pytest

from trainer.array_files import open_arrays, save_arrays


def test_arrays_of_every_shape_come_back_and_large_ones_start_at_64_bytes(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "one": np.array("käse"),
        "large": rng.normal(size=(300, 1000)),
        "turned": np.asfortranarray(rng.integers(0, 9, (2000, 400))),
        "names": np.array(["a", "bcd"]),
        "none": np.zeros((0, 4), dtype=np.int8),
        "long_name_of_an_array": rng.integers(0, 255, 1 << 21).astype(np.uint8),
    }
    save_arrays(tmp_path / "deep" / "file.npz", arrays)
    found = open_arrays(tmp_path / "deep" / "file.npz")
    assert list(found) == list(arrays)
    with np.load(tmp_path / "deep" / "file.npz") as plain:
        for name, values in arrays.items():
            assert np.array_equal(found[name], values)
            assert np.array_equal(plain[name], values)
            assert found[name].dtype == values.dtype
    for name in ("large", "turned", "long_name_of_an_array"):
        assert isinstance(found[name].base, np.memmap)
        assert found[name].ctypes.data % 64 == 0
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["file.npz"]


def test_files_of_numpy_are_read_packed_or_not(tmp_path):
    values = np.arange(400_000.0)
    np.savez(tmp_path / "plain.npz", values=values)
    np.savez_compressed(tmp_path / "packed.npz", values=values)
    for name in ("plain", "packed"):
        assert np.array_equal(open_arrays(tmp_path / f"{name}.npz")["values"], values)


@pytest.mark.parametrize("content", [b"", b"PK", b"nothing at all"])
def test_other_files_are_no_arrays(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"\w"):
        open_arrays(tmp_path / "bad.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ValueError, match=r"\w"):
        open_arrays(tmp_path / "text.npz")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    save_arrays(tmp_path / "a.npz", {"x": np.ones(3)})
    with pytest.raises(ValueError, match="Object arrays"):
        save_arrays(tmp_path / "a.npz", {"x": np.zeros(3), "y": np.array([{}])})
    assert open_arrays(tmp_path / "a.npz")["x"].tolist() == [1, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
