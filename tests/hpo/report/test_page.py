"""The page: whole, self-contained, and right about what it shows."""

import html.parser
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from hpo.core.errors import RunError
from hpo.report import charts, slot_chart
from hpo.report.page import render, write_report
from hpo.report.run_data import load_run_data
from hpo.run.ledger import Ledger
from hpo.run.run_dir import LEDGER_FILE, RunDir
from tests.quick_trainer import TRAINER, QuickTrainer


class Reader(html.parser.HTMLParser):
    """Collects addresses, identifiers and the words outside of scripts."""

    def __init__(self):
        super().__init__()
        self.addresses, self.anchors, self.ids, self.scripts, self.words = [], [], [], [], []
        self._in_script = False

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [attrs[k] for k in ("src", "href") if k in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        self._in_script = tag in ("script", "style")
        if tag == "script" and "data-for" in attrs:
            self.scripts.append([attrs["data-for"], ""])

    def handle_endtag(self, tag):
        self._in_script = False

    def handle_data(self, data):
        if not self._in_script:
            self.words.append(data)
        elif self.scripts and data.lstrip().startswith("{"):
            self.scripts[-1][1] += data


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


def test_a_search_writes_its_report(searched):
    page = searched.run.path / "report.html"
    assert searched.finished.report == str(page)
    text = page.read_text()
    assert "has not ended" not in text
    assert (searched.run.path / "report.md").read_text().startswith("# quick\n")


def test_nothing_outside_is_loaded(facts):
    reader = read(render(facts, {}, None, None))
    assert reader.addresses
    assert all(a.startswith(("#", "data:")) for a in reader.addresses)
    assert {a[1:] for a in reader.addresses if a.startswith("#")} <= set(reader.ids)


def test_charts_can_be_read_back(facts):
    reader = read(render(facts, {}, None, None))
    assert {name for name, _ in reader.scripts} >= {"chart-history", "chart-curves", "chart-slots"}
    for name, text in reader.scripts:
        assert set(json.loads(text)) == {"data", "layout"}
        assert name in reader.ids


def test_tables_are_headed_by_the_metric_that_was_searched_for(facts):
    from dataclasses import replace

    class Other(QuickTrainer):
        monitoring_metric = "val_map"

    cost = {"trial": 0, "value": 0.5, "latency_ms": 1.0, "params": 9, "on_front": True}
    handed_on = {"pareto": [{**cost, "name": name} for name in ("small", "large")]}
    given = replace(facts, trainer=Other(), handed_on=handed_on)
    words = "".join(read(render(given, {}, None, None)).words)
    assert "val_map against latency" in words
    assert "P@1" not in words


def test_names_with_markup_stay_words(facts):
    from dataclasses import replace

    study = replace(facts.study, name="<b>&amp;</b>")
    text = render(replace(facts, study=study), {}, explained("<script>alert(1)</script>"), None)
    reader = read(text)
    assert "<b>&amp;</b>" in "".join(reader.words)
    assert text.count("<script>alert") == 0


def words_of(facts):
    return " ".join(" ".join(read(render(facts, {}, None, None)).words).split())


def explained(name, folder=None):
    """Four queries, one of them wrong, as a trainer explains them."""
    paths = [f"{i}.png" for i in range(4)]
    if folder:
        for i, path in enumerate(paths):
            Image.new("RGB", (400, 300), (60 * i, 0, 0)).save(folder / path)
        paths = [str(folder / path) for path in paths]
    rows = [
        {
            "path": path,
            "file": f"shop/shelf {i}.png",
            "class": name,
            "hit": i > 0,
            "nearest": {"path": paths[1], "class": name if i else "ale", "distance": 0.25},
            "own": {"path": paths[2], "distance": 0.75},
        }
        for i, path in enumerate(paths)
    ]
    chart = {
        "method": "PCA",
        "x": [0.0, 0.0],
        "y": [1.0, 2.0],
        "class": [name] * 2,
        "role": ["query"] * 2,
        "path": [""] * 2,
    }
    return {"queries": rows, "suspects": [], "map": chart}


def test_mistakes_are_shown_with_pictures(facts, tmp_path):
    folder = tmp_path / '100 % "new" shots'
    folder.mkdir()
    text = render(facts, {}, explained("bun", folder), explained("bun", folder))
    words = " ".join("".join(read(text).words).split())
    assert "1 of 4 validation queries have a nearest neighbour of another class" in words
    assert "taken for, at 0.25" in words
    assert "nearest right one, at 0.75" in words
    assert text.count("data:image/jpeg;base64,") == 3
    assert "shelf 0.png" in words
    assert 'title="shop/shelf 0.png"' in text
    leading = [Path(unquote(urlsplit(a).path)) for a in read(text).addresses if a[:5] == "file:"]
    assert [path.name for path in leading] == ["0.png", "1.png", "2.png"]
    assert all(path.is_file() for path in leading)
    assert "2.png" in words  # of explanations from before files had names of their own


def test_a_map_of_one_place_says_that_all_embed_alike(facts):
    told = explained("bun")
    assert "PCA; filled: queries" in render(facts, {}, told, None)
    told["map"]["y"] = [1.0, 1.0]
    text = render(facts, {}, told, None)
    assert "All pictures embed alike" in text
    assert "chart-map" not in text


def test_a_matrix_of_part_of_the_classes_says_so(facts, monkeypatch):
    caption = "2 classes, those of most mistakes, are shown; all are in confusion.csv"
    assert caption not in render(facts, {}, explained("bun"), None)
    monkeypatch.setattr(charts, "MAX_CONFUSED", 1)
    assert f"1 of {caption}" in render(facts, {}, explained("bun"), None)


def test_a_page_says_which_of_many_trials_it_draws(facts, monkeypatch):
    assert "all are in events.ndjson" not in render(facts, {}, None, None)
    monkeypatch.setattr(charts, "MAX_CURVES", 3)
    monkeypatch.setattr(slot_chart, "MAX_DRAWN", 2)
    text = render(facts, {}, None, None)
    best = "trials, the best and a sample of the others, are shown; all are in events.ndjson."
    trained = sum(bool(t.measurements) for t in facts.trials)
    assert f"3 of {trained} {best}" in text
    assert (
        f"2 of {len(facts.trials)} trials, the last, are shown; all are in events.ndjson." in text
    )


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_cards_compare_means_with_means(facts, direction, sign):
    from dataclasses import replace

    best, default = facts.best.number, 0
    seeds = {"values": [0.5, 0.5]}
    standings = [
        {"number": best, "value": sign * 0.75, **seeds},
        {"number": default, "value": sign * 0.625, **seeds},
    ]
    told = {"winner": best, "default": default, "words": [], "standings": standings}
    given = replace(facts, handed_on={"confirmation": told}, direction=direction)
    words = words_of(given)
    before, after = (" gained", "") if sign > 0 else ("", " (less is better)")
    gained = f"default P@1 0.625 +0.125{before} over 2 new seeds{after}"
    assert f"confirmed P@1 0.750 trial {best} over 2 new seeds" in words
    assert gained in words
    # The default's repeats stand by a twin of its trial; where all have failed, by none.
    told["default"] = standings[1]["number"] = 99
    assert gained in words_of(given)
    told["default"] = None
    found, other = (given.value_of(t) for t in (given.best, given.default))
    assert f"default P@1 {other:.3f} {found - other:+.3f}{before}{after} trials" in words_of(given)
    same = replace(facts, best=facts.default, handed_on={})
    assert "it is the best" in " ".join(" ".join(read(render(same, {}, None, None)).words).split())


def test_the_navigation_leads_to_every_section_in_its_order(facts):
    from dataclasses import replace

    row = {"name": "a", "trial": 3, "value": 0.75, "latency_ms": 1.5, "params": 1, "on_front": True}
    whole = replace(facts, handed_on={"pareto": [row, row]})
    told = {"unknowns": {"why": "few"}, "growth": {"why": "few"}}
    for text in (
        render(facts, {}, None, None),
        render(whole, {}, {**explained("bun"), **told}, None),
    ):
        sections = re.findall(r'<h2 id="([^"]+)"', text)
        nav = text[text.index("<nav>") : text.index("</nav>")]
        assert re.findall(r'href="#([^"]+)"', nav) == sections
        assert len(sections) > 5


def test_sources_are_those_of_the_user(facts):
    from dataclasses import replace

    def sources(**data):
        study = replace(facts.study, data=replace(facts.study.data, **data))
        return "".join(read(render(replace(facts, study=study), {}, None, None)).words)

    split = {"train": None, "reference": None, "query": None}
    assert "/home/me/photos" in sources(folder="/home/me/photos", **split)
    assert "embedded data set (seed" in sources(**split)


def test_pictures_that_are_gone_are_left_out(facts):
    text = render(facts, {}, explained("bun"), None)
    assert "data:image/jpeg" not in text
    assert not any(address.startswith("file:") for address in read(text).addresses)
    assert "taken for, at 0.25" in text


def test_a_run_without_trials_has_nothing_to_report(searched, tmp_path):
    run = RunDir(tmp_path)
    for name in ("study.yaml", "plan.json"):
        (tmp_path / name).write_text((searched.run.path / name).read_text())
    Ledger.create(tmp_path / LEDGER_FILE, "maximize").close()
    with pytest.raises(RunError, match="no trial has been started"):
        load_run_data(run)


def test_what_was_looked_at_is_not_looked_at_again(facts, tmp_path, monkeypatch):
    calls = []

    class Looking:
        def call(self, method, spec, with_map):
            calls.append((method, with_map))
            return explained("bun")

    monkeypatch.setattr(type(TRAINER), "explain", lambda *_: {}, raising=False)
    for _ in range(2):
        write_report(facts, Looking(), tmp_path)
    default = facts.default is not facts.best
    assert calls == [("explain", True)] + [("explain", False)] * default
    text = (tmp_path / "report.html").read_text()
    assert re.search(r"1 of 4 validation queries", text)


def test_architectures_are_compared_where_there_are_several(facts):
    from dataclasses import replace

    row = {"name": "feat_dim=64", "trial": 3, "value": 0.75, "latency_ms": 1.5, "params": 1234567,
           "on_front": True}  # fmt: skip
    one = render(replace(facts, handed_on={"pareto": [row]}), {}, None, None)
    assert "against latency" not in one
    two = render(replace(facts, handed_on={"pareto": [row, row]}), {}, None, None)
    words = " ".join("".join(read(two).words).split())
    assert "feat_dim=64" in words
    assert "1.50 ms" in words
    assert "1,234,567" in words


def test_the_threshold_for_unknown_pictures_is_told_or_why_there_is_none(facts):
    curves = {key: [0.5] for key in ("limit", "accepted", "rejected", "coverage", "accuracy")}
    threshold = {
        "rate": 0.05, "limit": 0.8125, "rate_interval": (0.01, 0.123), "rejected": 0.25,
        "is_of_trained": True,
    }  # fmt: skip
    told = {"threshold": threshold, "auroc": 0.75, "curves": curves}
    text = render(facts, {}, {**explained("bun"), "unknowns": told}, None)
    assert "With --unknown-at 0.05 about 5% of the pictures of classes outside" in text
    assert "25.0% of the known validation pictures would be called unknown" in text
    assert "expect 1.0% to 12.3% of unknown pictures with a name" in text
    assert "The model was trained on these classes" in text
    text = render(
        facts, {}, {**explained("bun"), "unknowns": {"why": "8 classes are needed"}}, None
    )
    assert "No threshold: 8 classes are needed." in text
    assert "Pictures of unknown classes" not in render(facts, {}, explained("bun"), None)


def test_what_is_left_out_is_said(facts):
    look = explained("bun")
    row = look["queries"][0]
    many = [{**row, "says": "ale", "role": "query"} for _ in range(17)]
    text = render(facts, {}, {**look, "suspects": many}, None)
    assert "10 of 17 pictures are shown; all are in suspect_labels.csv." in text
    text = render(facts, {}, {**look, "suspects": many[:10]}, None)
    assert "pictures are shown" not in text


def test_the_time_is_told_from_its_budget(facts):
    assert "<span>budget: 16 trials</span>" in render(facts, {}, None, None)


def test_what_more_photographs_would_bring_is_told(facts):
    told = {
        "levels": [{"pictures": 2.0, "value": 0.61}, {"pictures": 4.0, "value": 0.7}],
        "ahead": [{"pictures": 8.0, "value": 0.77, "interval": [0.74, 0.8]}],
        "classes": [{"class": "bun <raw>", "half": 0.25, "all": 0.625}],
    }
    text = render(facts, {}, {**explained("bun"), "growth": told}, None)
    said = (
        "pictures of a class: P@1 0.700 (mean over classes). 2 times as many would bring P@1 0.770 "
        "(0.740 to 0.800)"
    )
    assert f"The gallery holds 4.0 {said}" in text  # as earlier releases kept it
    for least, shown in ((4, "4"), (3, "3 to 4")):
        each = told | {"least": least, "most": 4}
        text = render(facts, {}, {**explained("bun"), "growth": each}, None)
        assert f"The gallery holds {shown} {said}" in text
    assert "random parts of the gallery, continued by a power law" in text
    assert "<td>bun &lt;raw&gt;</td>" in text
    assert '<td class="n">0.250</td><td class="n">0.625</td>' in text
    part = told | {"num_queries": 1000, "num_given": 1001}
    text = render(facts, {}, {**explained("bun"), "growth": part}, None)
    assert "of the gallery and 1000 of the 1001 queries, drawn at random, continued by a" in text
    told |= {"num_queries": 1001, "num_given": 1001}
    text = render(facts, {}, {**explained("bun"), "growth": told}, None)
    assert "random parts of the gallery, continued by a power law" in text
    told = {"why": "nine of ten classes need 3 gallery pictures or more"}
    text = render(facts, {}, {**explained("bun"), "growth": told}, None)
    assert "Nothing can be said: nine of ten classes need 3 gallery pictures" in text
    assert "Classes where more photographs pay most" not in text
