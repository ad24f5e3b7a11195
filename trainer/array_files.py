"""Files of several named arrays: `.npz` files whose arrays can be mapped into memory.

Any reader of `.npz` reads them. The arrays are stored without compression, and each starts at a
multiple of 64 bytes, so that a large one need not be read before it is used.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from trainer.durable_files import write_atomically

_ALIGNED = 64
_MAPPED_FROM = 1 << 20
"""Bytes from which on an array is mapped; smaller ones are read."""
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
"""Of a member of a zip archive (APPNOTE 4.3.7); the last two numbers: lengths of name and extra."""
_NO_MEANING = 0xFFFF
"""Identifier of an extra field that fills space."""


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name, the whole file or nothing, and wait until it is on the disk."""

    def fill(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, values in arrays.items():
                _write(archive, f"{name}.npy", values)

    write_atomically(path, fill)


def _write(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    member = zipfile.ZipInfo(name)
    starts = archive.start_dir + _LOCAL_HEADER.size + len(name) + 4
    filler = -starts % _ALIGNED
    member.extra = struct.pack("<2H", _NO_MEANING, filler) + bytes(filler)
    member.file_size = values.nbytes  # tells zipfile early whether the large format is needed
    with archive.open(member, "w") as stream:
        npy.write_array(stream, np.asarray(values, order="C"), allow_pickle=False)


def open_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by name; large ones are mapped, read-only, where possible.

    Raises:
        OSError, ValueError: the file cannot be read, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            return {
                member.filename.removesuffix(".npy"): _read(path, archive, member, file)
                for member in archive.infolist()
            }
    except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError) as e:
        raise ValueError(str(e)) from e


def _read(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: Any) -> NDArray[Any]:
    if member.compress_type == zipfile.ZIP_STORED and member.file_size >= _MAPPED_FROM:
        file.seek(member.header_offset)
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        file.seek(name_length + extra_length, os.SEEK_CUR)
        return _mapped(path, file)
    with archive.open(member) as stream:
        values: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        return values


def _mapped(path: Path, file: Any) -> NDArray[Any]:
    version = npy.read_magic(file)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = reader(file)
    if dtype.hasobject:
        raise ValueError("holds Python objects")
    order = "F" if is_fortran else "C"
    values = np.memmap(path, dtype, "r", offset=file.tell(), shape=shape, order=order)  # type: ignore[call-overload]
    return np.asarray(values)
