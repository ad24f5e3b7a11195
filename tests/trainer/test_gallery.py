import numpy as np
import pytest

from trainer.errors import DataError
from trainer.gallery import GalleryIndex


def index_of(names, labels, seed=0, dim=4):
    rng = np.random.default_rng(seed)
    return GalleryIndex(
        emb_GD=rng.normal(size=(len(labels), dim)).astype(np.float32),
        labels_G=np.array(labels),
        class_names=names,
        paths=tuple(f"{names[label]}/{i}.png" for i, label in enumerate(labels)),
    )


def test_it_reads_back_what_it_wrote_without_pickle(tmp_path):
    index = index_of(("apple", "Käse"), [0, 1, 1])
    index.save(tmp_path / "g" / "gallery.npz")
    again = GalleryIndex.load(tmp_path / "g" / "gallery.npz")
    assert np.array_equal(again.emb_GD, index.emb_GD)
    assert again.labels_G.tolist() == [0, 1, 1]
    assert again.class_names == ("apple", "Käse")
    assert again.paths == index.paths
    assert [p.name for p in (tmp_path / "g").iterdir()] == ["gallery.npz"]


def test_classes_of_one_name_become_one():
    joined = index_of(("a", "b"), [0, 1]).extended(index_of(("b", "c"), [0, 1, 1], seed=1))
    assert joined.class_names == ("a", "b", "c")
    assert joined.labels_G.tolist() == [0, 1, 1, 2, 2]
    assert joined.names_of(np.array([[4, 2]])).tolist() == [["c", "b"]]


def test_damaged_and_foreign_files_are_one_line(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a gallery index"):
        GalleryIndex.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    with pytest.raises(DataError, match="not a gallery index"):
        GalleryIndex.load(tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", embeddings=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="not a gallery index"):
        GalleryIndex.load(tmp_path / "pickled.npz")


def test_embeddings_of_another_length_are_refused():
    with pytest.raises(DataError, match="length 4 must be given, got 5"):
        index_of(("a",), [0]).extended(index_of(("a",), [0], dim=5))
