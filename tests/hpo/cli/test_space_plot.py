import base64
import json
import re

import numpy as np
import pytest

from hpo.cli.space_plot import write_plot
from hpo.core.errors import SpecError
from tests.hpo.cli.test_space import NODES
from tests.search_spaces.building import space_of


def test_page_is_self_contained_and_shows_every_parameter(tmp_path):
    target = tmp_path / "out" / "space.html"
    write_plot(space_of(NODES), target)
    text = target.read_text()
    assert "<script src" not in text
    found = re.search(r"Plotly\.newPlot\(\s*\S+\s+(\[.*?\]),\s+(\{.*\}),\s+\{", text, re.DOTALL)
    traces, layout = json.loads(found[1]), json.loads(found[2])
    titles = [note["text"] for note in layout["annotations"]]
    for name in NODES:
        assert any(name in title for title in titles) == (name != "l.only")
    assert len(traces) == len(titles) == 13  # lists show one chart per number
    charts = dict(zip(titles, traces, strict=True))
    (names,) = (trace for title, trace in charts.items() if "o.name" in title)
    assert names["y"] == ["Adam", "SGD"]
    assert names["x"] == pytest.approx([0.75, 0.25], abs=0.02)  # the weights of the options
    assert names["marker"]["color"][0] != names["marker"]["color"][1]  # the default stands out
    (rate,) = (trace for title, trace in charts.items() if "<b>o.lr</b>" in title)
    assert sum(values_of(rate["y"])) == pytest.approx(1.0)
    assert max(values_of(rate["y"])) < 2 / 24  # drawn evenly along the logarithm


def values_of(numbers):
    """Numbers of a trace, which plotly may have packed."""
    if isinstance(numbers, dict):
        return np.frombuffer(base64.b64decode(numbers["bdata"]), numbers["dtype"]).tolist()
    return numbers


def test_another_kind_of_picture_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"--plot: must end in \.html, got .*space\.gif"):
        write_plot(space_of(NODES), tmp_path / "space.gif")


def test_a_space_in_which_nothing_varies_is_not_drawn(tmp_path):
    with pytest.raises(SpecError, match="nothing varies"):
        write_plot(space_of({"l.only": NODES["l.only"]}), tmp_path / "space.html")
