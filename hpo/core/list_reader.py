"""The protocol of trainers that read lists of pictures; one of `hpo.core.trainer_extras`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class ListReader(Protocol):
    """A trainer of which a source may be a table that names pictures, wherever they lie."""

    def listed_files(self, source: str) -> dict[str, str]:
        """Return name -> file of each picture of a list, or of a folder; empty where it cannot.

        What else lies in a folder (`Thumbs.db`, a readme) is not among them: nothing is trained on
        it. A name says split, class, and where the picture lies relative to the others: they are
        the same after list and pictures were moved. Whether a file is there is not looked at.
        """
