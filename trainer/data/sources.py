"""The images of a source, whatever it is; messages name it as the user does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.data.folder import ImageFolder, scan_folder, splits_in
from trainer.data.layout import SplitLayout
from trainer.data.lists import PictureList, is_list, named_files, read_list
from trainer.data.names import name_text
from trainer.data.origin import origin
from trainer.data.staging import address_of, is_remote, local_path, stage
from trainer.data.tree import list_pictures, walk
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


def open_source(uri: str, role: str = "") -> ImageFolder:
    """Stage a source and list its images.

    Args:
        uri: a folder of class folders, an archive of one, either behind an address, or a list.
        role: which split it is used as (`train`, `reference`, `query`, `test_reference`,
            `test_query`): of a list with a column `split` its rows are taken; default: all rows.

    Raises:
        DataError, ImageError, CredentialError, InfrastructureError: as `stage`, `scan_folder` and
            `open_list`.
    """
    if is_list(uri):
        return open_list(uri).folder(role)
    folder = stage(uri)
    try:
        return scan_folder(folder)
    except (DataError, ImageError) as error:  # an archive is named, not its place in the cache
        named = str(error).replace(origin(folder), name_text(address_of(uri)))
        raise type(error)(named) from error


def open_list(uri: str, *, labelled: bool = True) -> PictureList:
    """Read a list of pictures, as `trainer.data.lists.read_list`.

    Raises:
        DataError: as `read_list`; or it lies behind an address.
    """
    if is_remote(uri):
        raise DataError(
            f"{name_text(uri)}: a list must lie on this machine, beside the pictures that it "
            "names; fetch both, or name a folder or an archive there"
        )
    return read_list(local_path(uri), labelled=labelled)


def listed_files(uri: str) -> dict[str, str]:
    """Return name -> file of each picture of a folder here, and as `named_files` of a list.

    Empty for what is neither, or cannot be read.
    """
    if is_remote(uri):
        return {}
    place = local_path(uri)
    try:
        if is_list(uri):
            return named_files(place)
        return {name: f"{place}/{name}" for name in walk(place).pictures} if place.is_dir() else {}
    except DataError:
        return {}


def pictures_of(uri: str) -> list[Path]:
    """Stage a source and return all its pictures, whatever their classes.

    Raises:
        DataError, CredentialError, InfrastructureError: as `stage` and `open_list`.
    """
    if is_list(uri):
        return [Path(path) for path in open_list(uri, labelled=False).paths]
    return list_pictures(stage(uri))


def find_layout(uri: str) -> SourceLayout | None:
    """Stage a source and see whether it is a folder of splits in place of classes.

    Raises:
        DataError, CredentialError, InfrastructureError: as `stage`; or there is no folder in it.
    """
    if is_list(uri):
        return None
    folder = stage(uri)
    splits = splits_in(folder)
    return None if splits is None else SourceLayout(uri=uri, folder=folder, splits=splits)
