"""Explains a model's Precision@1: neighbours of every query, doubtful labels, a 2-D map.

Everything here is for people to look at; no number of it chooses a model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.actions.evaluate import embed_splits, model_path
from trainer.data.origin import origin
from trainer.encoders import trained_classes
from trainer.gallery import GalleryIndex
from trainer.gallery_growth import describe_growth, measure_growth
from trainer.matching import NEAREST
from trainer.retrieval import Floats, Indices, normalize, search
from trainer.unknowns import LEAST_GALLERY, Queries

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.splits import LabelledImages

_VOTERS = 5
"""Neighbours that must all be of one other class before a label is doubted."""
_MAP_POINTS = 1000
_TSNE_FROM = 30
"""Fewer points than this are laid out by their two main directions alone."""
_ALIKE = 1e-6
"""Spread of unit vectors that rounding alone can make."""
_TSNE_INPUTS, _TSNE_ROUNDS = 30, 500
"""Main directions kept, and rounds: a picture to look at in seconds, not the last bit of order."""


def explain(spec: Spec, *, with_map: bool = True) -> dict[str, Any]:
    """Look up every query of `dataset.val_dataset` by the model of `evaluate`.

    Args:
        spec: an evaluation spec.
        with_map: whether to look at more than the queries, and to lay the embeddings out.

    Returns:
        `queries`: one `{"path", "file", "class", "hit", "nearest": {"path", "file", "class",
        "distance"}, "own": {"path", "file", "distance"}}` per query, `own` being the nearest
        gallery picture of its own class; `path` is where a picture lies, `file` where its user put
        it; `suspects`: pictures whose neighbours all say another class, the clearest first:
        `{"path", "file", "class", "says", "role", "margin"}`; `map`: `{"method", "x", "y",
        "class", "role", "path"}` as parallel lists, or None; `unknowns`: `threshold` (at 5 %),
        `auroc` and `curves` of pictures of unknown classes (see `trainer.unknowns`), or `why` there
        is no threshold; `growth`: Precision@1 by pictures per class, and with more of them, as
        `trainer.gallery_growth.describe_growth` has it. Without the map `queries` alone are told.

    Raises:
        TrainerError: model, spec or images cannot be used; see `trainer.errors`.
    """
    gallery, files_G, emb_QD, query = embed_splits(spec)
    paths_Q = [str(path) for path in query.paths]
    paths_G = [str(path) for path in files_G]
    queries = neighbours(gallery, paths_G, emb_QD, query.labels, paths_Q)
    if not with_map:
        return {"queries": queries, "suspects": [], "map": None}
    both = _Pool(gallery, paths_G, normalize(emb_QD), query.labels, paths_Q)
    return {
        "queries": queries,
        "suspects": both.suspects(),
        "map": both.layout(),
        "unknowns": _unknowns(gallery, emb_QD, query, spec),
        "growth": _growth(gallery, emb_QD, query.labels),
    }


def _unknowns(
    gallery: GalleryIndex, emb_QD: NDArray[Any], query: LabelledImages, spec: Spec
) -> dict[str, Any]:
    """Tell what pictures of unknown classes bring, by classes that the model may have seen.

    An export's gallery knows more of those (`trainer.actions.predict.describe_unknowns`).
    """
    names = [query.class_names[label] for label in query.labels]
    queries = Queries.of(emb_QD, names, trained_classes(model_path(spec)))
    found = replace(gallery, queries=queries).calibration
    few = f"the gallery must have {LEAST_GALLERY} classes, got {len(gallery.class_names)}"
    return found.described() if found else {"why": few}


def _growth(
    gallery: GalleryIndex, emb_QD: NDArray[Any], labels_Q: NDArray[np.int64]
) -> dict[str, Any]:
    if gallery.matching != NEAREST:
        return {"why": "queries are compared with a mean per class"}
    growth = measure_growth(gallery.emb_GD, gallery.labels_G, emb_QD, labels_Q)
    return describe_growth(growth, gallery.class_names)


def neighbours(
    gallery: GalleryIndex,
    paths_G: list[str],
    emb_QD: NDArray[Any],
    labels_Q: NDArray[np.int64],
    paths_Q: list[str],
) -> list[dict[str, Any]]:
    """Return each query's nearest picture, and the nearest of its own class."""
    nearest_Q1, distances_Q1 = gallery.nearest(emb_QD, 1)
    own_Q, own_distances_Q = _nearest_own(gallery, emb_QD, labels_Q)
    names = gallery.class_names
    rows = []
    for i, (label, path) in enumerate(zip(labels_Q, paths_Q, strict=True)):
        found = int(nearest_Q1[i, 0])
        rows.append(
            {
                "path": path,
                "file": origin(path),
                "class": names[label],
                "hit": bool(gallery.labels_G[found] == label),
                "nearest": {
                    "path": paths_G[found],
                    "file": origin(paths_G[found]),
                    "class": names[gallery.labels_G[found]],
                    "distance": float(distances_Q1[i, 0]),
                },
                "own": {
                    "path": paths_G[own_Q[i]],
                    "file": origin(paths_G[own_Q[i]]),
                    "distance": float(own_distances_Q[i]),
                },
            }
        )
    return rows


def _nearest_own(
    gallery: GalleryIndex, emb_QD: NDArray[Any], labels_Q: NDArray[np.int64]
) -> tuple[Indices, Floats]:
    """Return index and distance of the nearest gallery picture of each query's own class."""
    own_Q = np.empty(len(labels_Q), dtype=np.int64)
    distances_Q = np.empty(len(labels_Q), dtype=np.float32)
    entries = gallery.entries
    for label in np.unique(labels_Q):
        queries, members = (
            np.flatnonzero(labels_Q == label),
            np.flatnonzero(entries.labels_E == label),
        )
        found, distances = search(emb_QD[queries], entries.unit.unit_GD[members], 1)
        own_Q[queries] = entries.pictures_E[members[found[:, 0]]]
        distances_Q[queries] = distances[:, 0]
    return own_Q, distances_Q


class _Pool:
    """Gallery and queries as one set of labelled unit vectors."""

    def __init__(
        self,
        gallery: GalleryIndex,
        paths_G: list[str],
        unit_QD: Floats,
        labels_Q: NDArray[np.int64],
        paths_Q: list[str],
    ) -> None:
        self.names = gallery.class_names
        self.unit_ND = np.concatenate((normalize(gallery.emb_GD), unit_QD))
        self.labels_N = np.concatenate((gallery.labels_G, labels_Q))
        self.paths = [*paths_G, *paths_Q]
        self.roles = ["gallery"] * len(paths_G) + ["query"] * len(paths_Q)

    def suspects(self) -> list[dict[str, Any]]:
        """Return pictures all of whose nearest others agree on one class that is not theirs."""
        if len(self.labels_N) <= _VOTERS:
            return []
        index_NK, distances_NK = search(self.unit_ND, self.unit_ND, _VOTERS + 1)
        found = []
        for i, label in enumerate(self.labels_N):
            is_other = index_NK[i] != i
            others, far = index_NK[i][is_other][:_VOTERS], distances_NK[i][is_other][:_VOTERS]
            votes = self.labels_N[others]
            if votes[0] == label or (votes != votes[0]).any():
                continue
            margin = self._distance_to_own(i) - float(far.mean())
            found.append(
                {
                    "path": self.paths[i],
                    "file": origin(self.paths[i]),
                    "class": self.names[label],
                    "says": self.names[votes[0]],
                    "role": self.roles[i],
                    "margin": margin,
                }
            )
        return sorted(found, key=lambda row: (-row["margin"], row["path"]))

    def _distance_to_own(self, i: int) -> float:
        """Distance to the nearest other picture of the own class; 2 when there is none."""
        own = np.flatnonzero(self.labels_N == self.labels_N[i])
        own = own[own != i]
        if not len(own):
            return 2.0
        return float(np.linalg.norm(self.unit_ND[own] - self.unit_ND[i], axis=1).min())

    def layout(self) -> dict[str, Any]:
        """Return a map of the embeddings in two dimensions; of many, of a random part."""
        chosen = np.arange(len(self.labels_N))
        if len(chosen) > _MAP_POINTS:
            rng = np.random.default_rng(0)
            chosen = np.sort(rng.choice(chosen, _MAP_POINTS, replace=False))
        method, xy_N2 = _in_two_dimensions(self.unit_ND[chosen])
        return {
            "method": method,
            "x": [round(float(x), 4) for x in xy_N2[:, 0]],
            "y": [round(float(y), 4) for y in xy_N2[:, 1]],
            "class": [self.names[self.labels_N[i]] for i in chosen],
            "role": [self.roles[i] for i in chosen],
            "path": [self.paths[i] for i in chosen],
        }


def _in_two_dimensions(unit_ND: Floats) -> tuple[str, NDArray[np.float64]]:
    """Lay out embeddings: t-SNE (van der Maaten and Hinton 2008), or their main directions."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows_ND = np.asarray(unit_ND, dtype=np.float64)
    if np.ptp(rows_ND, axis=0).max() < _ALIKE:  # t-SNE divides by the spread, and the process dies
        return "PCA", np.zeros((len(rows_ND), 2))
    if len(rows_ND) < _TSNE_FROM:
        return "PCA", PCA(n_components=2, random_state=0).fit_transform(rows_ND)
    components = min(_TSNE_INPUTS, *rows_ND.shape)
    rows_ND = PCA(n_components=components, random_state=0).fit_transform(rows_ND)
    perplexity = min(30.0, (len(rows_ND) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", max_iter=_TSNE_ROUNDS, random_state=0)
    return "t-SNE", np.asarray(tsne.fit_transform(rows_ND), dtype=np.float64)
