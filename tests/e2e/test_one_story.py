"""One search with repeats, and the six places that tell of its winner: all tell the same."""

import contextlib
import html
import io
import json
import re

import pytest

from hpo.cli.main import main
from hpo.results.story import winner_story
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.tracking.rows import Study
from hpo.tracking.summary import describe
from tests.quick_cli import call, write_study


def printed(*words):
    """What `hpo WORDS` prints, in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([str(word) for word in words]) == 0
    return out.getvalue()


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """(folder, run, what the terminal said) of a search that repeats its three best."""
    folder = tmp_path_factory.mktemp("story")
    write_study(folder)
    words = ("--budget", "8", "--confirm", "3", "--in-process", "--seed", "2")
    code, _, err = call(folder, "search", "study.yaml", *words)
    assert code == 0, err
    (state,) = folder.glob("runs/*/*/state.json")
    return folder, state.parent, err


@pytest.fixture(scope="module")
def report(searched):
    return json.loads((searched[1] / "best" / "report.json").read_text())


@pytest.fixture(scope="module")
def places(searched):
    """Place -> its text, in lines joined and without markup."""
    _, run, terminal = searched
    winner = json.loads((run / "best" / "report.json").read_text())["trial"]
    texts = {"terminal": terminal}
    for verb in ("status", "best", "why"):
        texts[verb] = printed(verb, run, *[winner] * (verb == "why"))
    page = re.sub(r"<(script|style|svg).*?</\1>", "", (run / "report.html").read_text(), flags=re.S)
    texts["report.html"] = html.unescape(re.sub(r"<[^>]+>", " ", page))
    ledger = Ledger.read(run / "ledger.db")
    study = Study(
        run=RunDir(run), name="quick", uuid="u", direction="maximize",
        metric="val_precision_at_1", summary={},
    )  # fmt: skip
    texts["MLflow"] = describe(study, ledger.trials(), "finished")
    ledger.close()
    return {place: " ".join(text.split()) for place, text in texts.items()}


@pytest.mark.parametrize("place", ["terminal", "status", "best", "why", "report.html", "MLflow"])
def test_every_sentence_on_the_winner_stands_in_every_place(places, report, place):
    sentences = winner_story(report)
    assert len(sentences) >= 4  # its mean, the default's, the hits, what to expect
    for sentence in sentences:
        assert sentence.lower().removeprefix("held out: ") in places[place].lower()
    why = "2 trials compared where 3 were asked for: no other was trained to its end"
    assert why in sentences
    told = f"trial {report['trial']}"
    assert told in places[place].lower()


def test_the_value_that_found_it_is_told_from_its_mean(places, report):
    value = f"{report['value']:.4f}"
    for place in ("terminal", "best", "report.html"):
        assert f"{value} in the run that found it" in re.sub(
            r" on the validation queries", "", places[place]
        )
    gain = f"{report['value'] - report['default_value']:+.4f}"
    for place in places:  # its luck is in it; the means say by how much it is better
        assert f"{gain} over the default" not in places[place]
        assert f"{gain} against the default" not in places[place]


def test_columns_say_who_is_what(searched, report):
    _, run, _ = searched
    state = json.loads((run / "state.json").read_text())
    found = {t["trial"]: t["role"] for t in state["trials"] if t["role"]}
    assert found[report["trial"]].startswith("winner")
    assert found[0].endswith("default")
    repeated = {s["number"] for s in report["confirmation"]["standings"]}
    repeats = [role for role in found.values() if role.startswith("repeat of ")]
    assert {int(role.removeprefix("repeat of ")) for role in repeats} == repeated
    assert state["finished"]["best"]["confirmation"] == report["confirmation"]
    assert state["best"]["trial"] == report["trial"]


def test_the_others_say_how_they_came_out(searched, report):
    _, run, _ = searched
    standings = report["confirmation"]["standings"]
    winner = next(s for s in standings if s["number"] == report["trial"])
    for standing in standings:
        if standing is winner:
            continue
        text = printed("why", run, standing["number"])
        assert f"{standing['value']:.4f} over 2 new seeds, against {winner['value']:.4f}" in text
        assert ("may be chance" in text) is standing["is_level"]
