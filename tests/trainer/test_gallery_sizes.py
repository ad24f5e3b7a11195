"""A gallery measured in other ways, against the same search by plain numpy."""

import numpy as np
import pytest

from tests.trainer.test_unknowns import gallery_of, world
from trainer.errors import DataError
from trainer.gallery_sizes import measure_sizes
from trainer.unknowns import Queries

NAMES = [f"c{i}" for i in range(12)]


@pytest.fixture(scope="module")
def shop():
    draw = world(13, 5, dim=64, spread=0.25)
    emb, labels = draw(np.arange(12), 5)
    asked, own = draw(np.arange(13), 6)  # of the last class the gallery has none
    queries = Queries.of(asked, [f"c{label}" for label in own], [])
    return gallery_of(emb, labels, NAMES, queries), emb, labels, asked[own < 12], own[own < 12]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def class_mean(found, own):
    return np.mean([(found == own)[own == c].mean() for c in np.unique(own)])


def test_each_row_gives_what_a_plain_search_gives(shop):
    gallery, emb, labels, asked, own = shop
    rows = measure_sizes(gallery)
    by_first = {row["length"]: row for row in rows if row["shortened"] == "first values"}
    assert sorted(by_first) == [16, 32]
    for length, row in by_first.items():
        found = labels[(unit(asked[:, :length]) @ unit(emb[:, :length]).T).argmax(axis=1)]
        assert row["precision_at_1"] == pytest.approx(class_mean(found, own))
        assert row["bytes"] == 60 * length * 4
    means = np.stack([unit(emb)[labels == c].mean(axis=0) for c in range(12)])
    found = (unit(asked) @ unit(means).T).argmax(axis=1)
    of_means = next(row for row in rows if row["matching"] == "prototypes")
    assert of_means["precision_at_1"] == pytest.approx(class_mean(found, own))
    centred = unit(emb) - unit(emb).mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:16].T
    turned = unit((unit(asked) - unit(emb).mean(axis=0)) @ directions)
    found = labels[(turned @ unit(centred @ directions).T).argmax(axis=1)]
    by_pca = {row["length"]: row for row in rows if row["shortened"] == "PCA"}
    assert by_pca[16]["precision_at_1"] == pytest.approx(class_mean(found, own), abs=0.02)


def test_kinds_cost_what_their_bits_cost(shop):
    rows = [row for row in measure_sizes(shop[0]) if row["length"] == 64]
    plain = {row["kind"]: row for row in rows if row["matching"] == "nearest"}
    assert plain["flat"]["same"] == 1.0
    assert [plain[kind]["bytes"] for kind in ("flat", "16-bit", "8-bit")] == [15360, 7680, 3840]
    assert plain["hnsw"]["bytes"] > 15360
    assert all(row["file_bytes"] == row["bytes"] for row in plain.values())
    means = {row["kind"]: row for row in rows if row["matching"] == "prototypes"}
    assert [row["bytes"] for row in means.values()] == 3 * [12 * 64 * 4]  # 12 classes, 32 bits
    for kind, row in means.items():  # a file keeps all pictures whatever they are compared by
        assert row["file_bytes"] == plain[kind]["bytes"]
    assert all(row["milliseconds"] > 0 for row in rows)


def test_a_gallery_without_queries_of_its_classes_is_refused(shop):
    gallery, emb, labels, asked, _ = shop
    for queries in (None, Queries.of(asked, ["elsewhere"] * len(asked), [])):
        with pytest.raises(DataError, match="holds no validation queries of its classes"):
            measure_sizes(gallery_of(emb, labels, NAMES, queries))
