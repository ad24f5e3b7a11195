"""The images of a source, whatever it is; messages name it as the user does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.data.folder import ImageFolder, scan_folder, splits_in
from trainer.data.layout import SplitLayout
from trainer.data.names import name_text
from trainer.data.origin import origin
from trainer.data.staging import stage
from trainer.errors import DataError, ImageError


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLayout:
    """The splits that a source holds in place of classes."""

    uri: str
    folder: Path
    """Where the source lies; elsewhere than at its address if it was unpacked."""
    splits: SplitLayout

    def usage(self) -> str:
        """Say in one line what the splits are used as."""
        return f"{name_text(self.uri)}: holds splits, used as {self.splits.flags(self._shown)}"

    def refusal(self) -> str:
        """Say in one line why it cannot be told what they are, and what to type."""
        unpack = "" if self._is_in_place else "unpack it first: it "
        return f"{name_text(self.uri)}: {unpack}{self.splits.refusal(self._shown)}"

    @property
    def _is_in_place(self) -> bool:
        return str(self.folder) == self.uri

    def _shown(self, path: Path) -> str:
        return str(path) if self._is_in_place else path.relative_to(self.folder).as_posix()


def open_source(uri: str) -> ImageFolder:
    """Stage a source and list its images.

    Args:
        uri: a folder of class folders, an archive of one, or either behind an address.

    Raises:
        DataError, ImageError, CredentialError, InfrastructureError: as `stage` and `scan_folder`.
    """
    folder = stage(uri)
    try:
        return scan_folder(folder)
    except (DataError, ImageError) as error:  # an archive is named, not its place in the cache
        named = str(error).replace(origin(folder), name_text(uri))
        raise type(error)(named) from error


def find_layout(uri: str) -> SourceLayout | None:
    """Stage a source and see whether it holds splits in place of classes.

    Raises:
        DataError, CredentialError, InfrastructureError: as `stage`; or there is no folder in it.
    """
    folder = stage(uri)
    splits = splits_in(folder)
    return None if splits is None else SourceLayout(uri=uri, folder=folder, splits=splits)
