"""What the server does with pictures: label them, put them into the gallery, take classes out.

Knows nothing of HTTP. Every method may be called from several threads at once. A change has been
written to the disk when its method returns, and is seen by whatever is labelled afterwards.
"""

from __future__ import annotations

import csv
import importlib
import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from hpo.core.addresses import is_missing, is_remote
from hpo.core.errors import DataError, HpoError
from hpo.core.own_folder import scratch_folder
from hpo.core.protocols import Trainer
from hpo.core.text import printable, storable
from hpo.core.thumbnails import small_jpeg
from hpo.core.trainer_extras import GalleryEditor, PictureLabeller
from hpo.results.export import trainer_of_export
from hpo.results.gallery import extend_gallery, list_gallery, shrink_gallery, undo_gallery
from hpo.results.label_files import is_unknown
from hpo.results.predict import price_of
from hpo.run.run_dir import RunDir
from hpo.study.plan import as_user_errors, read_plan
from hpo.study.trainers import demand

logger = logging.getLogger(__name__)

LONGEST_NAME = 200
"""Characters of a class's name."""
_NEEDED_LATER = ("PIL.ImageOps", "encodings.utf_8_sig", "mmap", "numpy.ma", "numpy.random")
"""Modules that numpy and Pillow import only when they are used."""
_MOST_SHOWN = 4096
"""Gallery pictures that may be asked for: those that were told last."""
THUMBNAIL_PX = 160


class ConflictError(DataError):
    """A picture is in the gallery under another class."""


class NoSuchClassError(DataError):
    """The gallery has no class of a name."""


class PictureService:
    """The exported model and gallery of one run.

    Args:
        run: holds them in its folder `best`.
        unknown_at: asked share of pictures of unknown classes that are taken for known; None gives
            every picture a class.

    Raises:
        RunError: the run has no exported model.
        SpecError: its trainer knows no galleries, or no unknown classes where they are asked for.
    """

    def __init__(self, run: RunDir, unknown_at: float | None = None) -> None:
        self.run = run
        self._trainer = trainer_of_export(run)
        demand(self._trainer, GalleryEditor)
        if unknown_at is not None:
            demand(self._trainer, PictureLabeller)
        self._unknown_at = unknown_at
        self._reference = _reference_folder(run, self._trainer)
        self._last_shown: dict[str, str] = {}

    def warm_up(self) -> None:
        """Load model and gallery, so that the first picture need not wait for them.

        So are the modules that a later request needs: some parse source when they are imported,
        and Python 3.11 may fail where two threads do (SystemError, its issue 106905).
        """
        from io import BytesIO

        from PIL import Image

        for module in _NEEDED_LATER:
            importlib.import_module(module)
        Image.init()  # every format's module, which the first odd picture would load

        picture = BytesIO()
        Image.new("RGB", (32, 32)).save(picture, "PNG")
        small_jpeg(picture, THUMBNAIL_PX)
        self.label(picture.getvalue(), "start", 1)

    def label(self, data: bytes, name: str, topk: int) -> dict[str, Any]:
        """Label one picture.

        Args:
            data: the bytes of its file.
            name: what messages call it.
            topk: matches to list, or all there are if those are fewer.

        Returns:
            `label`, `unknown` where that is asked for (a class may be called so), and `matches`,
            best first: each with `class`, `distance` (0 to 2), `score` where the trainer gives one,
            and `picture`, where the matching gallery picture can be seen.

        Raises:
            DataError: it cannot be read.
        """
        with scratch_folder("hpo-serve") as folder:
            path = folder / _file_name(name)
            path.write_bytes(data)
            row = self._row(path, topk)
        if "error" in row:
            raise DataError(f"{name}: {row['error']}")
        matches = [
            {"class": label, **{key[:-1]: row[key][place] for key in _LISTS if key in row}}
            for place, label in enumerate(row["labels"])
        ]
        for match in matches:
            match["picture"] = self._shown(match.pop("neighbour", ""))
        unknown = {} if self._unknown_at is None else {"unknown": is_unknown(row)}
        return {"label": row.get("label", row["labels"][0]), **unknown, "matches": matches}

    def unknown_price(self) -> str:
        """What the threshold for unknown pictures costs, in one line; empty where there is none."""
        if self._unknown_at is None:
            return ""
        with as_user_errors():
            labeller = demand(self._trainer, PictureLabeller)
            told = labeller.describe_threshold(self.run.best_dir, self._unknown_at)
            return price_of(told, self.run)

    def classes(self) -> dict[str, int]:
        """Return class -> number of pictures."""
        return list_gallery(self.run)

    def add(self, label: str, data: bytes, name: str) -> dict[str, Any]:
        """Add one picture to a class, which may be new; one that is there already changes nothing.

        Returns:
            `classes` and `pictures` now, `new_classes`, `new_pictures`, `known_pictures`, and
            `notes` where there is something to say, such as of names that differ in spelling alone.

        Raises:
            ConflictError: it is there under another class.
            DataError: it cannot be read, or the class has no usable name.
        """
        label = _class_name(label)
        with scratch_folder("hpo-serve") as folder:
            path = folder / "added" / _file_name(name)
            path.parent.mkdir()
            path.write_bytes(data)
            table = folder / "added.csv"
            with table.open("w", newline="", encoding="utf-8") as stream:
                # The class is named as results name it: no class map of the trainer's says more.
                rows = (("path", "label", "reported"), (str(path), label, "yes"))
                csv.writer(stream).writerows(rows)
            result = extend_gallery(self.run, str(table))
        if result["errors"]:
            reason = str(result["errors"][0]["error"])
            kind = ConflictError if reason.startswith("is in the gallery as") else DataError
            raise kind(f"{name}: {reason}")
        return {k: v for k, v in result.items() if k != "errors" and (k != "notes" or v)}

    def remove(self, label: str) -> dict[str, Any]:
        """Take a class out; return what is left, and how much went.

        Raises:
            NoSuchClassError: there is no such class, in whatever spelling of its signs.
            DataError: it is the last.
        """
        names = list_gallery(self.run)
        spelt = {normalize("NFC", name): name for name in names}
        name = label if label in names else spelt.get(normalize("NFC", label.strip()))
        if name is None:
            raise NoSuchClassError(f"{label}: no such class in the gallery")
        return shrink_gallery(self.run, [name])

    def undo(self) -> dict[str, Any]:
        """Take the last change back.

        Raises:
            DataError: no change is kept.
        """
        return undo_gallery(self.run)

    def thumbnail(self, path: str) -> bytes | None:
        """A small JPEG of a gallery picture that a match has named; None where there is none."""
        file = self._gallery_file(self._last_shown.get(path, ""))
        return None if file is None else small_jpeg(file, THUMBNAIL_PX)

    def _row(self, path: Path, topk: int) -> Mapping[str, Any]:
        best, number = self.run.best_dir, len(list_gallery(self.run))
        topk = min(topk, number)
        try:
            with as_user_errors():
                if not isinstance(self._trainer, PictureLabeller):
                    return self._trainer.predict(best, [path], topk)[0]
                rows = self._trainer.label_pictures(best, [path], topk, unknown_at=self._unknown_at)
                return next(iter(rows))
        except DataError:
            if len(list_gallery(self.run)) >= number:
                raise
            return self._row(path, topk)  # a class was taken out in between

    def _shown(self, path: str) -> str | None:
        """Remember a gallery picture as one that may be asked for, if its file is there."""
        if self._gallery_file(path) is None:
            return None
        name = storable(path)  # in an answer, bytes that are no UTF-8 are spelt out
        self._last_shown.pop(name, None)
        self._last_shown[name] = path
        while len(self._last_shown) > _MOST_SHOWN:
            self._last_shown.pop(next(iter(self._last_shown)), None)
        return name

    def _gallery_file(self, path: str) -> Path | None:
        """The file of a gallery picture: below the reference pictures' folder, or the one in it.

        Of one that was added later (`added//...`) there is none, whatever lies there by its name.
        """
        folder = self._reference
        is_inside = ".." not in PurePosixPath(path).parts and not path.startswith("/")
        if not path or not is_inside or "//" in path:
            return None
        try:
            while folder is not None and not (folder / path).is_file():
                inner = [entry for entry in folder.iterdir() if entry.is_dir()]
                folder = inner[0] if len(inner) == 1 else None
        except OSError:  # the pictures were moved since
            return None
        return None if folder is None else folder / path


_LISTS = ("distances", "scores", "neighbours")
"""Lists in a trainer's row that belong to its labels, in their order."""


def _reference_folder(run: RunDir, trainer: Trainer) -> Path | None:
    """Where the pictures lie that the gallery was made of; None where they are not on this machine.

    An archive is unpacked, or found unpacked in the cache; nothing is fetched from a store.
    """
    try:
        place = read_plan(run.path).sources.get("reference", "")
        if not place or is_remote(place) or is_missing(place):
            return None
        with as_user_errors():
            return trainer.stage(place)
    except (HpoError, OSError) as error:
        logger.info("gallery pictures are not shown: %s", error)
        return None


def _class_name(label: str) -> str:
    label = label.strip()
    is_plain = printable(label) == label and label.splitlines() == [label]
    if not is_plain or len(label) > LONGEST_NAME:
        got = len(label) if len(label) > LONGEST_NAME else repr(label)
        raise DataError(f"class: must have 1 to {LONGEST_NAME} printable characters, got {got}")
    if "\N{REPLACEMENT CHARACTER}" in label:
        raise DataError("class: must be UTF-8, as %C3%BC for ü, got other bytes")
    if label in {".", ".."}:
        raise DataError(f"class: must be a name, got {label!r}, which no address can end with")
    return label


def _file_name(name: str) -> str:
    """A name of one's own for a file of this name, whatever it holds."""
    kept = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in name)
    # File systems count bytes.
    return "x" + kept.encode()[-80:].decode(errors="ignore")
