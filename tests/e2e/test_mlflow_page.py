"""MLflow's pages in a real browser: every trial is there, with parameters and charts to compare."""

import random

import pytest

from hpo.core.trial import TrialState
from tests.e2e.mlflow_page import BROWSERS, find_browser, look
from tests.hpo.tracking.scripted import Script


@pytest.mark.slow
def test_the_pages_show_every_trial(tmp_path):
    if find_browser() is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}")
    rng = random.Random(0)
    script = Script(tmp_path / "runs").open()
    for number in range(12):
        lr, width = 10 ** rng.uniform(-5, -1), rng.choice([64, 128, 256])
        script.start(number, **{"optim.lr": lr, "model.width": width})
        if number % 3 == 2:
            script.epochs(number, rng.random() / 2)
            script.end(number, TrialState.PRUNED, reason="below the median")
        else:
            script.epochs(number, *sorted(rng.random() for _ in range(3)))
            script.end(number)
    script.close()
    pages = {page.name: page for page in look(script.run, script.uri, tmp_path / "shots")}
    names = [f"trial-{number:04d}" for number in range(12)]
    for name in ("trials", "charts", "compare"):
        assert pages[name].trials == names, name
    assert {name: page.missing for name, page in pages.items() if page.missing} == {}
    assert len(list((tmp_path / "shots").glob("mlflow_*.png"))) == 4
