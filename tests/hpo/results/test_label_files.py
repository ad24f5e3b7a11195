import csv
import os
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from hpo.results.label_files import is_unknown, sheet, table

ROWS = [
    {"image": "broken.jpg", "error": "it is cut off"},
    {"image": "a<b.jpg", "label": "unknown", "labels": ["ale", "bun"], "scores": [0.5, -0.25], "distances": [1.0, 1.5]},
    {"image": "c.jpg", "label": "bun", "labels": ["bun", "ale"], "distances": [0.2, 2.0]},
]  # fmt: skip


def test_a_table_has_a_row_a_picture_broken_ones_too(tmp_path):
    path = tmp_path / "deep" / "labels.csv"
    rows = table(iter(ROWS), path)
    assert list(rows) == ROWS
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == [
        "image", "label", "class_1", "score_1", "distance_1", "class_2", "score_2", "distance_2", "error",
        "unknown",
    ]  # fmt: skip
    assert [row["label"] for row in found] == ["", "unknown", "bun"]
    assert [row["class_1"] for row in found] == ["", "ale", "bun"]
    assert [row["unknown"] for row in found] == ["", "true", "false"]
    assert (found[0]["error"], found[1]["error"]) == ("it is cut off", "")
    assert (float(found[1]["score_2"]), float(found[2]["score_1"])) == (-0.25, 0.98)  # 1 - d²/2
    assert found[2]["distance_2"] == "2.000000"


def test_a_table_of_broken_pictures_alone_has_its_head(tmp_path):
    assert len(list(table(iter(ROWS[:1]), tmp_path / "t.csv"))) == 1
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        "image,label,error,unknown",
        "broken.jpg,,it is cut off,",
    ]


@pytest.mark.parametrize("write", [table, partial(sheet, files=[])])
def test_rows_that_end_in_an_error_leave_the_file_of_before(tmp_path, write):
    path, link = tmp_path / "labels", tmp_path / "link"
    path.write_text("of yesterday")
    link.symlink_to(path)

    def failing():
        yield from ROWS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(write(failing(), link))
    rows = write(iter(ROWS), link)
    next(rows)
    rows.close()
    assert path.read_text() == "of yesterday"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels", "link"]
    assert list(write(iter(ROWS), link)) == ROWS
    assert link.is_symlink()
    assert "c.jpg" in path.read_text()
    assert list(write(iter(ROWS), Path(os.devnull))) == ROWS


def test_a_sheet_shows_pictures_labels_and_what_is_unknown(tmp_path):
    Image.new("RGB", (300, 200), (9, 9, 200)).save(tmp_path / "blue.png")
    rows = [{**ROWS[2], "image": "shots.zip/blue.png"}, *ROWS, {"image": "no.zip", "error": "none"}]
    files = [tmp_path / name for name in ("blue.png", "broken.jpg", "a<b.jpg", "c.jpg")]
    assert list(sheet(iter(rows), tmp_path / "sheet.html", files)) == rows
    text = (tmp_path / "sheet.html").read_text()
    assert text.count("<figure") == 5
    assert text.count('title="shots.zip/blue.png"><img src="data:image/jpeg;base64,') == 1
    assert text.count("data:image/jpeg;base64,") == 1
    assert (
        '<figure class="unknown" title="a&lt;b.jpg"><figcaption><b>unknown</b><br>ale 1.00, bun 1.50'
        in text
    )
    assert '<figure class="error" title="broken.jpg">' in text
    assert text.endswith("</html>\n")


def test_a_class_may_be_called_unknown(tmp_path):
    fitting = {"image": "a.jpg", "label": "unknown", "labels": ["unknown"], "distances": [0.5]}
    assert [is_unknown(row) for row in (*ROWS, fitting)] == [False, True, False, False]
    assert is_unknown({**fitting, "unknown": True})
    assert not is_unknown({**fitting, "unknown": False})
    rows = [{**fitting, "unknown": unknown} for unknown in (True, False)]
    list(table(iter(rows), tmp_path / "t.csv"))
    with (tmp_path / "t.csv").open(newline="") as file:
        found = [(row["label"], row["unknown"]) for row in csv.DictReader(file)]
    assert found == [("unknown", "true"), ("unknown", "false")]
