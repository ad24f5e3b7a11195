"""Data sets that a portfolio is learned from: drawn packs of several kinds, and Omniglot alphabets.

    folders = make_data("packs-many", images, work)

Photographs are there to judge what was learned, and for nothing else.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.data.demo_catalog import make_products
from trainer.data.demo_packs import draw_face
from trainer.data.demo_views import take_view

PARTS = ("train", "reference", "query")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packs:
    """Drawn packs: brands of products that differ in details."""

    seed: int
    brands: int
    products: int
    """Of each brand, at most four; one makes classes that are told apart at a glance."""
    train: int
    """Pictures of each class."""
    reference: int = 3
    query: int = 10
    side: int = 96
    """Pixels; fewer than 96 make them blurred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Characters:
    """Handwritten characters of one alphabet, twenty pictures each; all of a folder without one."""

    folder: str
    alphabet: str = ""
    train: int = 8
    reference: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Photographs:
    """Archives of photographs, used as they are."""

    folder: str


DATA: dict[str, Packs | Characters | Photographs] = {
    "packs-demo": Packs(seed=101, brands=7, products=4, train=20),
    "packs-pairs": Packs(seed=102, brands=12, products=2, train=10),
    "packs-few": Packs(seed=103, brands=9, products=4, train=5),
    "packs-many": Packs(seed=104, brands=5, products=4, train=40),
    "packs-small": Packs(seed=105, brands=8, products=4, train=12, side=40),
    "packs-wide": Packs(seed=106, brands=16, products=4, train=8, query=6),
    "balinese": Characters(folder="known_classes", alphabet="Balinese"),
    "aramaic": Characters(folder="known_classes", alphabet="Early_Aramaic"),
    "greek": Characters(folder="known_classes", alphabet="Greek", train=5),
    "korean": Characters(folder="known_classes", alphabet="Korean"),
    "latin": Characters(folder="known_classes", alphabet="Latin", train=12),
    "mixed": Characters(folder="unknown_classes"),
    "groceries": Photographs(folder="grocery/known_classes"),
}


def family_of(name: str) -> str:
    """`packs`, `characters` or `photographs`."""
    return type(DATA[name]).__name__.lower()


def make_data(
    name: str, images: Path, work: Path, *, classes: int | None = None, most: int | None = None
) -> dict[str, str]:
    """Draw or unpack a data set, or find it made.

    Args:
        name: a key of `DATA`.
        images: the folder with `omniglot` and `grocery`, each with `known_classes`.
        work: where everything goes.
        classes: no more than so many classes.
        most: no more than so many training and query pictures of a class.

    Returns:
        Folders or archives of `train`, `reference` and `query`.
    """
    if isinstance(own := DATA[name], Photographs):
        named = zip(PARTS, ("train", "reference", "val"), strict=True)
        return {part: str(images / own.folder / f"{split}.tar.gz") for part, split in named}
    target = work / "data" / f"{name}-{classes or 'all'}-{most or 'all'}"
    if not target.exists():
        draft = target.with_name(f"{target.name}.tmp")
        shutil.rmtree(draft, ignore_errors=True)
        if classes or most:
            _thin_out(make_data(name, images, work), draft, classes, most)
        elif isinstance(own, Packs):
            _draw(own, draft)
        else:
            _divide(own, images, work, draft)
        draft.rename(target)
    return {part: str(target / part) for part in PARTS}


def _draw(packs: Packs, draft: Path) -> None:
    counts = (packs.train, packs.reference, packs.query)
    number = 0
    for brand in range(packs.brands):
        for product in make_products(packs.seed, brand)[: packs.products]:
            face = draw_face(product)
            for place, (part, views) in enumerate(zip(PARTS, counts, strict=True)):
                folder = draft / part / f"{number:03d}"
                folder.mkdir(parents=True)
                for view in range(views):
                    rng = np.random.default_rng([packs.seed, number, place, view])
                    picture = take_view(face, rng)
                    if packs.side != picture.width:
                        small = picture.resize((packs.side, packs.side), Image.Resampling.BOX)
                        picture = small
                    picture.save(folder / f"{view:03d}.jpg", quality=90)
            number += 1


def _divide(own: Characters, images: Path, work: Path, draft: Path) -> None:
    """Divide the twenty pictures of each character anew: few to train on, many queries."""
    source = work / "omniglot" / own.folder
    if not source.exists():
        loose = source.with_name(f"{source.name}.tmp")
        shutil.rmtree(loose, ignore_errors=True)
        for packed in sorted((images / "omniglot" / own.folder).glob("*.tar.gz")):
            shutil.unpack_archive(packed, loose)
        loose.rename(source)
    names = sorted({p.name for p in source.glob("*/*") if p.name.startswith(own.alphabet)})
    for name in names:
        files = sorted(source.glob(f"*/{name}/*.png"), key=lambda path: path.name)
        ends = (own.train, own.train + own.reference, len(files))
        begin = 0
        for part, end in zip(PARTS, ends, strict=True):
            _link(files[begin:end], draft / part / name)
            begin = end


def _thin_out(whole: dict[str, str], draft: Path, classes: int | None, most: int | None) -> None:
    """Every n-th class, and the first pictures of each."""
    names = sorted(path.name for path in Path(whole["train"]).iterdir())
    kept = min(classes or len(names), len(names))
    for name in (names[i * len(names) // kept] for i in range(kept)):
        for part, folder in whole.items():
            files = sorted((Path(folder) / name).iterdir())
            _link(files if part == "reference" else files[:most], draft / part / name)


def _link(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())
