"""A Ray of the program's own is left alone, and one of a search leaves nothing behind."""

import logging
import os
import tempfile
import threading
from pathlib import Path

import pytest

from hpo.core.errors import HpoError
from hpo.executors.division import divide_machine
from tests.processes import living_below
from tests.quick_cli import write_study
from tests.quick_trainer import NAME

pytest.importorskip("ray")
pytestmark = pytest.mark.ray


def test_a_ray_of_the_programs_own_goes_on_and_a_search_beside_it_is_refused(tmp_path, monkeypatch):
    import ray

    from hpo import api
    from hpo.executors.ray import RayExecutor
    from hpo.executors.ray_folder import choose_ray_folder
    from hpo.executors.ray_start import join_cluster

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    Path(tempfile.tempdir).mkdir()
    ray.init(
        address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
        _temp_dir=str(choose_ray_folder().path),
    )  # fmt: skip
    words = "this program uses Ray already, .* call ray.shutdown\\(\\) first, or give executor="
    try:
        kept, address = ray.put("kept"), ray.get_runtime_context().gcs_address
        slots = divide_machine(1, cpus=1, gpus=0)
        for given in ("", address):
            with pytest.raises(HpoError, match=words) as caught:
                RayExecutor(NAME, slots, given)
            assert "\n" not in str(caught.value)
        with pytest.raises(HpoError, match=words):
            join_cluster(address)
        with pytest.raises(HpoError, match=words):
            api.search(write_study(tmp_path), budget=1, out=tmp_path / "runs", quiet=True)
        assert ray.get(kept) == "kept"
        assert not (tmp_path / "runs").exists()
        assert list(Path(tempfile.tempdir).iterdir()) == []
    finally:
        ray.shutdown()


def test_a_search_gives_the_program_its_settings_back(monkeypatch):
    import ray

    from hpo.executors.ray import RayExecutor

    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a1" * 16)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before, levels = dict(os.environ), [logging.getLogger(n).level for n in ("ray", "ray.tune")]
    slots = divide_machine(1, cpus=1, gpus=0)
    executor = RayExecutor(NAME, slots)
    assert os.environ["RAY_AUTH_TOKEN"] != before["RAY_AUTH_TOKEN"]
    titles = [command.split(b"\0")[0] for _, command in living_below(os.getpid()).values()]
    assert any(title.endswith(b"raylet") for title in titles)
    assert b"ray::IDLE" not in titles, "a process for each core that no trial will use"
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    assert session.is_dir()
    refused = []

    def search_beside():
        try:
            RayExecutor(NAME, slots)
        except HpoError as error:
            refused.append(str(error))

    beside = threading.Thread(target=search_beside)
    beside.start()
    beside.join()
    assert "in another search" in refused[0]
    assert executor.call("limits", {}) == {}  # the first goes on
    executor.close()
    executor.close()
    assert not ray.is_initialized()
    assert not session.exists()
    assert dict(os.environ) == before
    assert [logging.getLogger(n).level for n in ("ray", "ray.tune")] == levels
