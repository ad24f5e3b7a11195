import json
import subprocess
import sys

import pytest

from hpo.run.run_dir import Holder, RunDir


@pytest.fixture
def driven(second):
    """A run that some other process holds."""
    code = (
        "import sys, time; from pathlib import Path; from hpo.run.run_dir import RunDir\n"
        "with RunDir(Path(sys.argv[1])).lock():\n    print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(second)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    yield second
    holder.kill()
    holder.wait()


def test_the_wish_is_left_in_the_run(hpo, driven):
    code, out, err = hpo("stop")
    assert (code, err) == (0, "")
    assert out == (
        f"{driven} will stop after the running epochs; go on later with: hpo resume {driven} --in-process\n"
    )
    assert (driven / ".stop").exists()


def test_the_same_for_programs(hpo, driven):
    assert json.loads(hpo("stop", "--json")[1]) == {"run_dir": str(driven), "stopping": True}


def test_nothing_to_stop(fails, first):
    assert fails("stop", "first").endswith("is not running, so there is nothing to stop")
    assert not (first / ".stop").exists()


@pytest.mark.parametrize("holder", [Holder.CALLER, Holder.CALIBRATION, Holder.EXPORT])
def test_what_hears_no_wish_is_told(fails, first, holder):
    run = RunDir(first)
    with run.lock(holder):
        assert fails("stop", "first").endswith(
            f"{run.held_by()} (`hpo stop` is heard by searches alone)"
        )
    assert not run.stop_file.exists()
