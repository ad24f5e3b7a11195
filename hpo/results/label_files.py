"""Files of labelled pictures: a table as CSV, and a page of thumbnails.

Both pass rows on while they write, so that ten thousand pictures need the memory of one. A file has
its name once all rows are in it; what lay there before stays until then.
"""

from __future__ import annotations

import contextlib
import csv
import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from hpo.core.text import count_of, storable
from hpo.core.thumbnails import thumbnail

SHOWN = 2000
"""Pictures on a page; more would not open."""

TABLE_SIGNS = ("image,label,class_1,", "image,label,error")
"""One is at the beginning of every table; a list of a user's own may begin with `image,label`."""
SHEET_SIGNS = ("<title>Labelled pictures</title>",)
"""Near the beginning of every page."""

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Labelled pictures</title><style>
body { font: 14px system-ui, sans-serif; margin: 24px; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px; }
figure { margin: 0; } figcaption { overflow-wrap: anywhere; } small { color: #667085; }
img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #f2f3f5; }
.unknown b, .error b { color: #c43d3d; }
</style></head><body><main>
"""


def table(rows: Iterator[dict[str, Any]], place: Path | TextIO) -> Iterator[dict[str, Any]]:
    """Write `image`, `label`, and class, score and distance of each of the nearest, row by row.

    A picture without a label has its reason in `error`; `unknown` is true of one that no class
    fits, and so tells it from a class of that name.
    """
    with _opened(place) as file:
        writer = csv.writer(file)
        waiting: list[dict[str, Any]] | None = []
        width = 0
        for row in rows:
            if waiting is not None:  # the first label tells how many columns there are
                waiting.append(row)
                if "error" not in row:
                    width = len(row["labels"])
                    _start(writer, width, waiting)
                    waiting = None
            else:
                writer.writerow(_cells(row, width))
            yield row
        if waiting is not None:
            _start(writer, width, waiting)


@contextlib.contextmanager
def _opened(place: Path | TextIO) -> Iterator[TextIO]:
    """Open a file beside another that takes its place where the block ends without an error.

    A stream is written as it is, and so is what is no file: a pipe, whose path resolves to nothing.
    """
    if not isinstance(place, Path):
        yield place
        return
    is_file = place.is_file() or not place.exists()
    path = place.resolve() if is_file else place
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-new") if is_file else path
    try:
        with draft.open("w", newline="", encoding="utf-8") as file:
            yield file
        if is_file:
            draft.replace(path)
    except BaseException:
        if is_file:
            draft.unlink(missing_ok=True)
        raise


def _start(writer: Any, width: int, rows: list[dict[str, Any]]) -> None:
    names = [f"{name}_{k}" for k in range(1, width + 1) for name in ("class", "score", "distance")]
    writer.writerow(["image", "label", *names, "error", "unknown"])
    writer.writerows(_cells(row, width) for row in rows)


def _cells(row: dict[str, Any], width: int) -> list[str]:
    if "error" in row:
        return [storable(row["image"]), "", *[""] * (3 * width), row["error"], ""]
    scores = row.get("scores") or [1 - d * d / 2 for d in row["distances"]]
    nearest = zip(row["labels"], scores, row["distances"], strict=True)
    cells = [text for c, s, d in nearest for text in (c, f"{s:.6f}", f"{d:.6f}")]
    told = ["", str(is_unknown(row)).lower()]
    return [storable(row["image"]), row.get("label", row["labels"][0]), *cells, *told]


def is_unknown(row: Mapping[str, Any]) -> bool:
    """Whether a labelled picture is of no class; of a trainer that does not tell, by its label."""
    if "error" in row:
        return False
    nearest = row["labels"][0]
    return bool(row.get("unknown", row.get("label", nearest) != nearest))


def sheet(
    rows: Iterator[dict[str, Any]], place: Path | TextIO, files: Sequence[Path]
) -> Iterator[dict[str, Any]]:
    """Write a page with a thumbnail of each picture, its label and the nearest classes.

    Args:
        rows: of pictures.
        place: the page.
        files: where the pictures of the first rows lie; those of further ones are not there.
    """
    with _opened(place) as file:
        file.write(_HEAD)
        left_out = 0
        for number, row in enumerate(rows):
            if number < SHOWN:
                shown = thumbnail(files[number]) if number < len(files) else None
                file.write(storable(_figure(row, shown)))
            else:
                left_out += 1
            yield row
        more = f"<p>Not shown: {count_of(left_out, 'more picture')}.</p>" if left_out else ""
        file.write(f"</main>{more}</body></html>\n")


def _figure(row: dict[str, Any], picture: str | None) -> str:
    label = "not labelled" if "error" in row else row.get("label", row["labels"][0])
    kind = "error" if "error" in row else "unknown" if is_unknown(row) else ""
    note = row.get("error") or ", ".join(
        f"{name} {distance:.2f}"
        for name, distance in zip(row["labels"], row["distances"], strict=True)
    )
    shown = f'<img src="{picture}" alt="" loading="lazy">' if picture else ""
    name, file = html.escape(row["image"]), html.escape(Path(row["image"]).name)
    caption = f"<b>{html.escape(label)}</b><br>{html.escape(note)}<br><small>{file}</small>"
    body = f"{shown}<figcaption>{caption}</figcaption>"
    return f'<figure class="{kind}" title="{name}">{body}</figure>\n'
