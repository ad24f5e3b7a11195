"""Files of more than 8 bits a channel, and damaged ones, written byte by byte where it matters."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels -> colour type."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values_HWC, *, extra: bytes = b"") -> bytes:
    """A PNG of 8 or 16 bits a channel, by the array's type."""
    height, width, channels = values_HWC.shape
    bits = 8 * values_HWC.dtype.itemsize
    head = struct.pack(">IIBBBBB", width, height, bits, PNG_COLOURS[channels], 0, 0, 0)
    rows = values_HWC.astype(values_HWC.dtype.newbyteorder(">"))
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + extra
        + _chunk(b"IDAT", data)
        + _chunk(b"IEND", b"")
    )


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk to put before the pixels."""
    return _chunk(kind, data)


def tiff(
    values_HWC,
    *,
    order: str = "<",
    packed: bool = False,
    extra_sample: int | None = None,
    photometric: int | None = None,
) -> bytes:
    """A TIFF of one strip; integers, signed ones and floats by the array's type."""
    height, width, channels = values_HWC.shape
    data = values_HWC.astype(values_HWC.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if packed else data
    if photometric is None:
        photometric = 1 if channels < 3 else 2
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8 * values_HWC.dtype.itemsize] * channels),
        259: (3, [8 if packed else 1]),
        262: (3, [photometric]),
        273: (4, [0]),
        277: (3, [channels]),
        278: (4, [height]),
        279: (4, [len(data)]),
        284: (3, [1]),
        339: (3, [{"u": 1, "i": 2, "f": 3}[values_HWC.dtype.kind]] * channels),
    }
    if extra_sample is not None:
        tags[338] = (3, [extra_sample])
    formats, table_end = {3: "H", 4: "I"}, 8 + 2 + 12 * len(tags) + 4
    sizes = [struct.calcsize(f"{len(v)}{formats[t]}") for t, v in tags.values()]
    tags[273] = (4, [table_end + sum(size for size in sizes if size > 4)])
    table, behind = b"", b""
    for number, (kind, items) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(items)}{formats[kind]}", *items)
        if len(raw) > 4:
            place = struct.pack(f"{order}I", table_end + len(behind))
            behind += raw
        else:
            place = raw.ljust(4, b"\0")
        table += struct.pack(f"{order}HHI", number, kind, len(items)) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return head + struct.pack(f"{order}H", len(tags)) + table + bytes(4) + behind + data


def ramp(height: int, width: int, channels: int, top: float, dtype) -> np.ndarray:
    """Values from 0 to `top` in every channel, each channel in an order of its own."""
    rng = np.random.default_rng([height, width, channels])
    whole = np.linspace(0, top, height * width)
    bands = [rng.permutation(whole) for _ in range(channels)]
    return np.stack(bands, axis=-1).reshape(height, width, channels).round(6).astype(dtype)


def deepen(folder, scale=1, *, only=lambda path: True):
    """Store the pictures below a folder again, as grey of 16 bits and `scale` times the 8-bit value."""
    for path in sorted(folder.rglob("*.png")):
        if only(path):
            with Image.open(path) as image:
                values_HW = np.asarray(image.convert("L")).astype(np.uint16)
            path.write_bytes(png((values_HW * np.uint16(scale))[..., None]))
    return folder


def grey(folder, *, dim=lambda path: False):
    """Store the pictures below a folder again, as grey of 8 bits, some a sixth as bright."""
    for path in folder.rglob("*.png"):
        image = Image.open(path).convert("L")
        (image.point(lambda value: value // 6) if dim(path) else image).save(path)
    return folder


def make_deep_and_plain(make, root):
    """Make splits twice, equal in what is seen: in 16 bits, and in 8.

    Every second picture is dim, so that it has a range of its own by itself.

    Args:
        make: called with a folder; returns the splits below it.
        root: for both.
    """
    for kind in ("deep", "plain"):
        splits = make(root / kind)
        for name in splits:
            grey(root / kind / name, dim=lambda path: int(path.stem) % 2)
            if kind == "deep":
                deepen(root / kind / name, 257)
        yield splits


def with_broken_exif(image) -> bytes:
    """A JPEG with a rotation tag, and a description that claims to be longer than the file."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112], exif[0x010E] = 6, "a long description"
    image.save(buffer, "JPEG", exif=exif)
    tag = struct.pack(">HHI", 0x010E, 2, 19)
    return buffer.getvalue().replace(tag, struct.pack(">HHI", 0x010E, 2, 60_000), 1)


def fax_with_bad_codes(image) -> bytes:
    """A fax page in TIFF that is read although libtiff finds codes that are none."""
    buffer = io.BytesIO()
    image.convert("1").save(buffer, "TIFF", compression="group4")
    data, rng = bytearray(buffer.getvalue()), random.Random(0)
    for _ in range(8):
        data[8 + rng.randrange(len(data) - 200)] = 7
    return bytes(data)
