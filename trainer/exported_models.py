"""The part of the trainer's interface that works on exported models, free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


class ExportedModels:
    """Labels pictures by an export's folder (`model.onnx`, `gallery.npz`) and changes its gallery.

    Example: `rows = TRAINER.predict(folder, [Path("photo.jpg")], 5)`.
    """

    def predict(self, folder: Path, images: list[Path], topk: int) -> list[dict[str, Any]]:
        """Label pictures by the exported model and gallery in `folder`."""
        from trainer.actions.predict import predict

        return predict(folder, images, topk)

    def label_pictures(
        self, folder: Path, images: Sequence[Path], topk: int, *, unknown_at: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Label pictures one by one, `unknown` where no class fits."""
        from trainer.actions.predict import label_pictures

        return label_pictures(folder, images, topk, unknown_at=unknown_at)

    def describe_threshold(self, folder: Path, rate: float) -> dict[str, Any]:
        """Return where the exported gallery in `folder` begins to call pictures unknown."""
        from trainer.actions.predict import describe_threshold

        return describe_threshold(folder, rate)

    def describe_unknowns(self, folder: Path) -> dict[str, Any] | None:
        """Return what a gallery that was calibrated by trainings tells of unknown pictures."""
        from trainer.actions.predict import describe_unknowns

        return describe_unknowns(folder)

    def list_gallery(self, folder: Path) -> dict[str, int]:
        """Return class -> number of pictures of the exported gallery in `folder`."""
        from trainer.actions.change_gallery import list_gallery

        return list_gallery(folder)

    def add_classes(self, folder: Path, images: str) -> dict[str, Any]:
        """Add `<class>/<picture>` to the exported gallery in `folder`, without training."""
        from trainer.actions.change_gallery import add_classes

        return add_classes(folder, images)

    def remove_classes(self, folder: Path, names: Sequence[str]) -> dict[str, Any]:
        """Take classes out of the exported gallery in `folder`."""
        from trainer.actions.change_gallery import remove_classes

        return remove_classes(folder, names)

    def merge_gallery(self, folder: Path, other: Path) -> dict[str, Any]:
        """Add the pictures of another gallery of the same model to the one in `folder`."""
        from trainer.actions.change_gallery import merge_gallery

        return merge_gallery(folder, other)

    def set_gallery(
        self, folder: Path, *, kind: str | None = None, matching: str | None = None
    ) -> dict[str, Any]:
        """Keep and search the exported gallery in `folder` in another way."""
        from trainer.actions.change_gallery import set_gallery

        return set_gallery(folder, kind=kind, matching=matching)

    def measure_gallery(self, folder: Path) -> list[dict[str, Any]]:
        """Measure the exported gallery in `folder` in every way it could be kept."""
        from trainer.actions.predict import open_export
        from trainer.gallery_sizes import measure_sizes

        return measure_sizes(open_export(folder)[1])

    def undo_gallery(self, folder: Path) -> dict[str, Any]:
        """Put the exported gallery in `folder` back to what it was before its last change."""
        from trainer.actions.change_gallery import undo_change

        return undo_change(folder)

    def find_pictures(self, sources: Sequence[str]) -> dict[str, Any]:
        """Return `pictures`, `errors` and `notes` of files, folders and archives to label."""
        from trainer.data.given_pictures import find_pictures

        return find_pictures(sources)
