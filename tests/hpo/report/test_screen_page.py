"""What screening found as table cells, as a figure, as a page."""

import json
import re

import pytest

from hpo.report.screen_page import COLUMNS, cells, figure, write_page


def row(weights="lite0", trunk="timm/a", side=160, ms=12.34, at=0.5, is_random=False):
    def found(value):
        return {"class_mean": value, "class_mean_interval": [value - 0.03, value + 0.05]}

    return {
        "weights": weights, "trunk": trunk, "height": side, "width": side, "latency_ms": ms,
        "params": 3_698_944, "export_bytes": 14_829_312, "random_weights": is_random,
        "nearest": found(at), "prototypes": found(at + 0.1),
    }  # fmt: skip


def test_cells_are_the_columns():
    told = dict(zip(COLUMNS, cells(row()), strict=True))
    assert told == {
        "weights": "lite0", "trunk": "timm/a", "pixels": "160x160",
        "P@1 nearest": ".500 (.470 to .550)", "P@1 prototypes": ".600 (.570 to .650)",
        "ms a picture": "12.3", "parameters": "3.7M", "export": "14.8 MB",
    }  # fmt: skip
    assert cells(row("none", is_random=True))[0] == "random"


def test_sizes_of_one_network_are_one_line_with_its_intervals():
    traces = figure([row(side=224, ms=20.0, at=0.6), row(side=128, ms=8.0), row("b.pth")])["data"]
    assert [trace["name"] for trace in traces] == [
        "lite0 timm/a, nearest", "lite0 timm/a, prototypes",
        "b.pth timm/a, nearest", "b.pth timm/a, prototypes",
    ]  # fmt: skip
    assert (traces[0]["x"], traces[0]["y"]) == ([8.0, 20.0], [0.5, 0.6])
    assert traces[0]["text"] == ["128x128 px", "224x224 px"]
    assert traces[0]["error_y"]["array"] == pytest.approx([0.05, 0.05])
    assert traces[0]["error_y"]["arrayminus"] == pytest.approx([0.03, 0.03])


def test_the_page_holds_figure_and_table_and_escapes_names(tmp_path):
    file = tmp_path / "new" / "screen.html"
    write_page([row("</script><b>.pth")], "9 queries of a<b", file)
    text = file.read_text()
    held = re.search(r'data-for="chart">(.+?)</script>', text)[1]
    assert json.loads(held)["data"][0]["x"] == [12.34]
    assert "<td>&lt;/script&gt;&lt;b&gt;.pth</td>" in text
    assert "9 queries of a&lt;b" in text
    assert "Plotly.react" in text
    assert "--accent: #2563c9" in text
