"""Files that training starts from, which must stay what they were while trials are compared."""

import os

import pytest

from hpo.core.errors import RunError
from hpo.run.run_dir import RunDir
from hpo.study.start_files import StartFiles, describe_start_files
from tests.file_trainer import TRAINER, listing_skill


@pytest.fixture
def facts(tmp_path, monkeypatch):
    monkeypatch.setattr(TRAINER, "skill_dir", listing_skill(tmp_path / "skill"))
    weights = tmp_path / "latest.ckpt"
    weights.write_bytes(b"first")
    spec = {
        "start": {"file": str(weights), "folder": str(tmp_path)}, "data": {"train": str(weights)},
    }  # fmt: skip
    return weights, spec, TRAINER


def test_size_and_digest_of_what_the_skill_lists_and_is_here(facts):
    weights, spec, trainer = facts
    # printf first | sha256sum
    assert describe_start_files(spec, trainer) == {"start.file": "5 bytes, digest a7937b64b8ca"}
    weights.unlink()
    assert describe_start_files(spec, trainer) == {}
    assert describe_start_files({"start": {"file": "timm://x"}}, trainer) == {}


def test_a_file_that_becomes_another_is_refused_and_one_that_is_touched_is_not(facts):
    weights, spec, trainer = facts
    run = RunDir(weights.parent / "run")
    files = StartFiles(spec, trainer, describe_start_files(spec, trainer), run)
    files.demand_same()
    os.utime(weights, (1, 1))
    files.demand_same()
    weights.write_bytes(b"other")
    told = r"start.file: .*latest.ckpt must stay the file .*a7937b64"
    with pytest.raises(RunError, match=rf"{told}.* same with `hpo resume {run} --force`$"):
        files.demand_same()
    StartFiles(spec, trainer, {}, run).demand_same()  # a run of an earlier release kept none
    weights.unlink()
    files.demand_same()  # the trial that reads it tells
