"""Population based training with the real trainer: trials that start from the checkpoints of others."""

from __future__ import annotations

import pytest

from hpo.core.budget import Budget
from hpo.core.trial import TrialState
from hpo.run.ledger import Ledger
from hpo.searching.session import start_search
from hpo.study.sections import DataSources, SearchOptions
from hpo.study.spec import StudySpec
from tests.quick_runs import Ear
from tests.trainer.tiny import make_splits, train_spec

BASE_LR = "train.optim.trunk.base_lr"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three members, two generations of one epoch, beside the default of two epochs."""
    splits = make_splits(tmp_path_factory.mktemp("pictures"))
    spec = train_spec(splits, "unused", train__num_epochs=2)
    spec = {k: v for k, v in spec.items() if not k.startswith("dataset.") or "cache" in k}
    search = SearchOptions(
        algorithm="pbt",
        algorithm_options={"population_size": 3, "eval_interval": 1, "quantile": 0.4},
        over=(BASE_LR, "train.optim.embedder.base_lr"),
    )
    del spec["results_dir"]
    return StudySpec(
        name="warm", data=DataSources(**splits), spec=spec, budget=Budget(trials=50), search=search
    )


def test_a_population_is_trained_from_checkpoints(study, tmp_path):
    whole = start_search(study, tmp_path / "whole", Ear().settings(probe=False))
    assert whole.finished.trials == {"complete": 7, "pruned": 0, "failed": 0}
    ledger = Ledger.open(whole.run.ledger_file)
    for trial in ledger.trials():
        assert trial.state is TrialState.COMPLETE
        # Read back from the live optimizer, also where it came out of another trial's checkpoint.
        assert trial.receipt["applied"][BASE_LR] == pytest.approx(trial.params[BASE_LR])
    later = [t for t in ledger.trials() if t.start_from]
    ledger.close()
    assert [[m.epoch for m in t.measurements] for t in later] == [[2]] * 3
    copied = [t for t in later if t.params != ledger.trial(t.start_from[0]).params]
    assert copied
