"""Lists of pictures: a table with a row per picture names its file, its class and its split.

The columns are `path` and `label`, and where they are given `split` and `group`; others are kept
for whoever asks for them by name. A path is taken relative to the list's own folder. Rows are
counted as an editor or a spreadsheet shows them: the header of a .csv file is row 1. Of a .parquet
file, which has no header row, the first picture is row 1.
"""

from __future__ import annotations

import csv
import io
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.data.folder import ImageFolder
from trainer.data.layout import SOURCES, source_of
from trainer.data.names import column_key, name_bytes, name_key, name_text
from trainer.data.notes import Note, and_list, counted, name_list
from trainer.data.origin import origin
from trainer.data.parquet_table import read_columns, texts_of
from trainer.errors import DataError

_LIST_ENDINGS = (".csv", ".parquet")
PATH, LABEL, SPLIT, GROUP = "path", "label", "split", "group"

_DELIMITERS = ",;\t"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_ROWS_NAMED = 5
_CSV_FAULTS = {
    "unexpected end of data": (
        'a quote must be closed, and is open to the end of the file; close it by another ", or '
        "take it away"
    ),
    "expected after": (
        'a quoted cell must end with its closing quote; write a quote inside it twice ("")'
    ),
    "field larger than": (
        f"a cell must have at most {csv.field_size_limit()} characters; see whether a quote before "
        "it is not closed"
    ),
}
"""What csv.Error says, in part, and what we say."""


def is_list(uri: str) -> bool:
    """Whether a source is a list of pictures, by its ending."""
    return uri.lower().endswith(_LIST_ENDINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureList:
    """The rows of a list, all of them checked; every field below has one entry per row."""

    file: Path
    numbers: tuple[int, ...]
    """Of the rows, as the user sees them."""
    paths: tuple[str, ...]
    """Absolute."""
    columns: Mapping[str, tuple[str, ...]]
    """Every column by its name in lower case, `path` aside."""
    roles: tuple[str, ...]
    """Source of a search that each row belongs to; empty texts where there is no split column."""
    notes: tuple[Note, ...] = ()

    def counts(self) -> dict[str, int]:
        """Rows of each split, in the order of a search's sources; empty without that column."""
        found = Counter(self.roles)
        return {role: found[role] for role in SOURCES if found[role]}

    def folder(self, role: str = "") -> ImageFolder:
        """Return the pictures of one split, or of all rows, sorted by class and path.

        Raises:
            DataError: no row is of that split.
        """
        rows = list(range(len(self.paths)))
        if role in SOURCES and (counts := self.counts()):
            if role not in counts:
                held = and_list([f"{name} ({number})" for name, number in counts.items()])
                raise DataError(
                    f"{origin(self.file)}: no row is of the split {role} ({SOURCES[role][1]}); "
                    f"it holds {held}; mark rows so, or leave the column out to use all of them"
                )
            rows = [row for row in rows if self.roles[row] == role]
        labels = self.columns[LABEL]
        keys = [name_key(name_text(labels[row])) for row in rows]
        ordered = sorted(zip(keys, (name_bytes(self.paths[r]) for r in rows), rows, strict=True))
        chosen = [row for _, _, row in ordered]
        classes = tuple(dict.fromkeys(key for key, _, _ in ordered))
        number = {key: i for i, key in enumerate(classes)}
        root = os.path.commonpath([os.path.dirname(self.paths[row]) for row in chosen])  # noqa: PTH120 - hot loop
        return ImageFolder(
            Path(root),
            classes,
            tuple(self.paths[row][len(root.rstrip("/")) + 1 :] for row in chosen),
            np.array([number[key] for key, _, _ in ordered], dtype=np.int64),
            self.notes,
            source=origin(self.file),
            columns={
                name: tuple(cells[row] for row in chosen) for name, cells in self.columns.items()
            },
        )


def read_list(file: Path, *, labelled: bool = True) -> PictureList:
    """Read and check a list; no picture is opened.

    Args:
        file: a .csv file (separated by commas, semicolons or tabs; UTF-8 or UTF-16), or a .parquet
            file where pyarrow is installed.
        labelled: whether there must be labels.

    Raises:
        DataError: the file cannot be read, lacks a column, or rows are wrong; the first is told
            with its number, further ones by their numbers (of a list that was split no numbers:
            its user knows other rows).
    """
    shown = origin(file)
    if os.path.isdir(file):  # noqa: PTH112 - as below
        raise DataError(
            f"{shown}: must be a file, and is a folder; give a folder of pictures a name that does "
            f"not end in {file.suffix}"
        )
    if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises for a name that is too long
        raise DataError(f"{shown}: no such list of pictures")
    numbers, columns = read_table(file)
    wanted = (PATH, LABEL) if labelled else (PATH,)
    missing = [name for name in wanted if name not in columns]
    if missing:
        held = f"its columns are {name_list(list(columns))}" if columns else "it names no column"
        raise DataError(
            f"{shown}: must have the columns {and_list(wanted)}, lacks {and_list(missing)}; {held}"
        )
    if not numbers:
        raise DataError(f"{shown}: holds no picture; a row names a file and its label")
    base = os.path.abspath(file.parent)  # noqa: PTH100 - links stay as they are
    problems: dict[int, str] = {}
    paths = [_full_path(base, cell) for cell in columns[PATH]]
    for row, problem in _problems(columns, paths, labelled=labelled):
        problems.setdefault(row, problem)
    kept, num_twice = _unrepeated(columns, paths, numbers, problems)
    # Rows of a list that this package wrote are not those of the list that it was made of.
    _raise_if(problems, numbers if shown == name_text(str(file)) else None, shown)
    note = f"{counted(num_twice, 'row')} named again what a row above names, and count once"
    return PictureList(
        file=file,
        numbers=tuple(numbers[row] for row in kept),
        paths=tuple(paths[row] for row in kept),
        columns={
            name: tuple(cells[row] for row in kept)
            for name, cells in columns.items()
            if name != PATH
        },
        roles=tuple(source_of(columns[SPLIT][row]) if SPLIT in columns else "" for row in kept),
        notes=(Note(kind="repeated_row", severity="warning", text=note),) if num_twice else (),
    )


def named_files(file: Path) -> dict[str, str]:
    """Name each picture by its split, its class and where it lies relative to the others.

    Whether it is there is not looked at.

    Raises:
        DataError: the list cannot be read.
    """
    _, columns = read_table(file)
    base = os.path.abspath(file.parent)  # noqa: PTH100 - links stay as they are
    paths = [_full_path(base, cell) for cell in columns.get(PATH, ())]
    if not paths:
        return {}
    root = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120 - hot loop
    unsaid = [""] * len(paths)
    rows = zip(columns.get(SPLIT, unsaid), columns.get(LABEL, unsaid), paths, strict=True)
    return {f"{source_of(split)}|{label}|{path[len(root) :]}": path for split, label, path in rows}


def write_list(file: Path, folder: ImageFolder, indices: Sequence[int]) -> None:
    """Write some pictures of a source as a list with absolute paths."""
    extra = [name for name in folder.columns if name not in {LABEL, SPLIT}]
    with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream)
        writer.writerow([PATH, LABEL, *extra])
        for i in indices:
            label = folder.classes[folder.labels[i]]
            own = [folder.columns[name][i] for name in extra]
            writer.writerow([str(folder.root / folder.paths[i]), label, *own])


def _problems(
    columns: Mapping[str, Sequence[str]], paths: Sequence[str], *, labelled: bool
) -> Iterator[tuple[int, str]]:
    """Yield what is wrong with single rows."""
    for row, path in enumerate(paths):
        cell = columns[PATH][row]
        if problem := _path_problem(cell, path):
            yield row, problem
        if labelled and not columns[LABEL][row]:
            yield row, "label must be given, and is empty"
        elif labelled and (text := name_text(columns[LABEL][row])) != columns[LABEL][row]:
            yield row, f"label must be plain text in UTF-8, got {text!r}"
        elif labelled and columns[LABEL][row] in {".", ".."}:
            yield row, f"label must be a name, got {columns[LABEL][row]!r}"
        if SPLIT in columns and not source_of(columns[SPLIT][row]):
            yield (
                row,
                "split must be train, reference, query, test_reference or test_query (or val, "
                f"test, gallery), got {name_text(columns[SPLIT][row])!r}",
            )


def _path_problem(cell: str, path: str) -> str:
    if not cell:
        return "path must be given, and is empty"
    if "://" in cell:
        return f"path must name a file on this machine, got {name_text(cell)}"
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - one call per row
    except FileNotFoundError:
        hint = "; separate folders by /" if "\\" in cell else ""
        told = "" if cell == path else f" ({name_text(path)})"
        return f"no such picture: {name_text(cell)}{told}{hint}"
    except (OSError, ValueError) as error:
        return f"{name_text(cell)}: cannot be read ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISREG(mode):
        return ""
    what = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
    return f"{name_text(cell)} must be a picture, and is {what}"


def _full_path(base: str, cell: str) -> str:
    """The absolute path of a cell; what lies above a link is looked up, not cut from the text."""
    path = os.path.join(base, cell)  # noqa: PTH118 - a name may hold any bytes
    if "\0" not in path and ".." in path.split("/"):
        folder, name = os.path.split(path)
        return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118
    return os.path.normpath(path)


def _unrepeated(
    columns: Mapping[str, Sequence[str]],
    paths: Sequence[str],
    numbers: Sequence[int],
    problems: dict[int, str],
) -> tuple[list[int], int]:
    """Return the rows that name their file first, and how many say the same once more."""
    first: dict[str, int] = {}
    kept = []
    for row, path in enumerate(paths):
        before = first.setdefault(path, row)
        if before == row:
            kept.append(row)
            continue
        other = [name for name, cells in columns.items() if name in {LABEL, SPLIT, GROUP}
                 and cells[row] != cells[before]]  # fmt: skip
        if other:
            problems.setdefault(
                row,
                f"{name_text(columns[PATH][row])} is in row {numbers[before]} already, with "
                f"another {and_list(other)}",
            )
    return kept, len(paths) - len(kept)


def _raise_if(problems: Mapping[int, str], numbers: Sequence[int] | None, shown: str) -> None:
    """Refuse a list for its first wrong row, which is named where numbers are given."""
    if not problems:
        return
    first, *others = sorted(problems)
    more = f"; {counted(len(others), 'more row')} with errors" if others else ""
    if others and numbers is not None:
        more += f": {name_list([str(numbers[row]) for row in others], shown=_ROWS_NAMED)}"
    where = "" if numbers is None else f"row {numbers[first]}: "
    raise DataError(f"{shown}: {where}{problems[first]}{more}")


def read_table(file: Path, *, is_lenient: bool = False) -> tuple[list[int], dict[str, list[str]]]:
    """Return the numbers of the rows, and the columns by name in lower case, cells stripped.

    Args:
        file: ends in .parquet, else it is text.
        is_lenient: whether rows may be shorter or longer than the first, as nothing depends on
            their other cells, and the last column of a name counts.

    Raises:
        DataError: the file cannot be read, or holds what is not to be there.
    """
    is_parquet = file.name.lower().endswith(".parquet")
    return (_read_parquet if is_parquet else _read_csv)(file, is_lenient=is_lenient)


def read_text(file: Path) -> str:
    """Return a text in UTF-8 or UTF-16; other bytes, as names may have, are lone surrogates.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        data = file.read_bytes()
        encoding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
        return data.decode(encoding, "surrogateescape" if encoding != "utf-16" else "strict")
    except OSError as error:
        raise _unreadable(file, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{origin(file)}: row 1: must be UTF-8 text") from error


def _unreadable(file: Path, error: OSError) -> DataError:
    return DataError(f"{origin(file)}: cannot be read ({error.strerror or error})")


def _read_csv(file: Path, *, is_lenient: bool) -> tuple[list[int], dict[str, list[str]]]:
    text = read_text(file)
    head = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] = []
    numbers: list[int] = []
    rows: list[list[str]] = []
    number = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not names:
                names = _column_names(f"{origin(file)}: row 1", cells, is_lenient=is_lenient)
            elif cells and cells != [""]:
                width = len(names)
                padded = [*cells, *[""] * width][:width]
                rows.append(padded if is_lenient else _fitted(file, number, cells, width))
                numbers.append(number)
            number = reader.line_num + 1
    except csv.Error as error:
        said = str(error)
        why = next((why for sign, why in _CSV_FAULTS.items() if sign in said), said)
        raise DataError(f"{origin(file)}: row {number}: {why}") from error
    return numbers, {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _column_names(where: str, cells: Sequence[str], *, is_lenient: bool) -> list[str]:
    names = [column_key(cell) for cell in cells]
    while names and not names[-1]:
        names.pop()
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice and not is_lenient:
        raise DataError(f"{where}: the column {name_text(twice[0])!r} is given twice")
    return names


def _fitted(file: Path, number: int, cells: list[str], width: int) -> list[str]:
    """A row of as many cells as there are columns; empty ones behind the last are let go."""
    while len(cells) > width and not cells[-1]:
        cells.pop()
    if len(cells) != width:
        raise DataError(
            f"{origin(file)}: row {number}: must have {counted(width, 'cell')} as the header has, "
            f"got {len(cells)}; put quotes around what holds the separator"
        )
    return cells


def _read_parquet(file: Path, *, is_lenient: bool) -> tuple[list[int], dict[str, list[str]]]:
    """Columns that cannot be text are left out, and refused where a list is read by them."""
    num_rows, found = read_columns(file)
    names = _column_names(origin(file), [name for name, _ in found], is_lenient=is_lenient)
    needed = {PATH if PATH in names else "image", *(() if is_lenient else (LABEL, SPLIT, GROUP))}
    columns: dict[str, list[str]] = {}
    for name, (_, content) in zip(names, found, strict=False):
        if (texts := texts_of(content)) is not None:
            columns[name] = texts
        elif name in needed:
            raise DataError(
                f"{origin(file)}: the column {name!r} must hold text or numbers, got cells of the "
                f"type {content.type} that cannot be read as such; save it as text"
            )
    return list(range(1, num_rows + 1)), columns
