"""Specs of trials, as they are put together and as they are read back."""

import shutil

import pytest

from hpo.core.trial import TrialRecord, TrialStage, TrialState
from hpo.run.run_dir import RunDir
from hpo.run.trial_specs import TrialSpecs

KEY = "train.begin_with"


@pytest.mark.parametrize("is_copy", [True, False])
def test_a_trial_of_a_run_that_was_moved_or_copied_has_its_parent_there(tmp_path, is_copy):
    """The user's own weights may be those of the same trial of another run."""
    before = RunDir(tmp_path / "a")
    own = str(tmp_path / "other" / "trials" / "0001" / "ckpt" / "best.ckpt")
    base = {"model": {"weights": own}, "train": {"lr": 1.0}}
    stage = TrialStage(name="full", parent=1)
    record = TrialRecord(
        number=2, state=TrialState.COMPLETE, params={}, latents={}, until_epoch=3, stage=stage
    )
    written = TrialSpecs(base_spec=base, seed_key="", run=before, parent_key=KEY).spec_of(record)
    before.write_spec(2, written)
    shutil.copytree(before.path, tmp_path / "b")
    if not is_copy:
        shutil.rmtree(before.path)
    now = RunDir(tmp_path / "b")
    trained = TrialSpecs(base_spec=base, seed_key="", run=now).trained_spec(record)
    assert trained["train"]["begin_with"] == str(now.checkpoints_dir(1) / "best.ckpt")
    assert trained["model"]["weights"] == own
    assert trained["results_dir"] == str(now.trial_dir(2))
