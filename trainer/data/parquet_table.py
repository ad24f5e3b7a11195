"""Reads a .parquet file as texts, column by column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.data.origin import origin
from trainer.errors import DataError


def read_columns(file: Path) -> tuple[int, list[tuple[str, Any]]]:
    """Return the number of rows, and name and content of every column.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{origin(file)}: to read .parquet, install pyarrow; or save the list as .csv"
        ) from error
    try:
        with parquet.ParquetFile(file) as opened:
            table = opened.read()
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{origin(file)}: not a readable .parquet file") from error
    except OSError as error:
        raise DataError(f"{origin(file)}: cannot be read ({error.strerror or error})") from error
    names = [str(name).strip() for name in table.column_names]
    return table.num_rows, list(zip(names, table.columns, strict=True))


def texts_of(column: Any) -> list[str] | None:
    """Return the cells of a column as texts, None where they cannot be.

    Bytes are read as of a .csv file: UTF-8, and others, as names may have, as lone surrogates.
    """
    import pyarrow as pa

    types = pa.types
    try:
        if types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if types.is_nested(column.type):
            return None
        if types.is_string(column.type) or types.is_large_string(column.type):
            column = column.cast(pa.large_binary())  # of which nobody demands UTF-8
        return [_text(cell) for cell in column.to_pylist()]
    except (pa.ArrowException, LookupError, OverflowError, ValueError):
        return None  # such as a time that Python does not know


def _text(cell: Any) -> str:
    """A cell as text: 7 and 7.0, as tables store whole numbers beside empty cells, are `7`."""
    if cell is None or cell != cell:  # noqa: PLR0124 - NaN
        return ""
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "surrogateescape")
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()
