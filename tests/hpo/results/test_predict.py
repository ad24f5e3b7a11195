"""Labels by a run's model, of a trainer that offers nothing beyond the contract."""

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import HpoError, RunError
from hpo.results.predict import label_with_run
from hpo.searching.session import start_search
from tests.quick_runs import Ear, quick_study


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    study = quick_study(budget=Budget(trials=2), keep="all")
    return start_search(study, tmp_path_factory.mktemp("runs"), Ear().settings()).run


@pytest.fixture
def picture(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"any")  # the quick trainer looks at the name alone
    return tmp_path / "a.jpg"


def test_predictions_come_from_the_trainer(run, picture):
    labelled = label_with_run(run, [str(picture), "none.jpg"], 3)
    assert list(labelled.rows) == [
        {"image": str(picture), "labels": ["a"], "distances": [0.0]},
        {"image": "none.jpg", "error": "no such picture"},
    ]
    assert labelled.total == 2
    assert labelled.notes == []


def test_a_share_that_was_asked_for_is_met_or_refused(run, picture):
    with pytest.raises(HpoError, match="quick"):
        label_with_run(run, [str(picture)], unknown_at=0.2)


def test_another_trial_is_exported_for_it(run, picture):
    labelled = label_with_run(run, [str(picture)], trial=1)
    assert labelled.folder == run.path / "exports" / "0001"
    assert (labelled.folder / "model.onnx").is_file()
    assert len(list(labelled.rows)) == 1
    with pytest.raises(RunError, match="there is no trial 9"):
        label_with_run(run, [str(picture)], trial=9)


@pytest.mark.parametrize("topk", [0, -2, "3", 1.5])
def test_a_number_of_labels_that_is_none_is_refused(run, picture, topk):
    with pytest.raises(HpoError, match=f"topk: must be a whole number of at least 1, got .*{topk}"):
        label_with_run(run, [str(picture)], topk)
