"""The protocol of trainers that read lists of pictures; one of `hpo.core.trainer_extras`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class ListReader(Protocol):
    """A trainer of which a source may be a table that names pictures, wherever they lie."""

    def listed_files(self, source: str) -> dict[str, str]:
        """Return name -> file of each picture that a list names; empty for any other source.

        A name says split, class, and where the picture lies relative to the others: they are the
        same after list and pictures were moved. Whether a file is there is not looked at.
        """
