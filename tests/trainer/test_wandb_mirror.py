"""The service is stood in for by a module of its name; nothing is sent."""

import importlib.machinery
import sys
import types

import pytest

from trainer.spec import parse_spec
from trainer.wandb_mirror import start_mirror

EPOCH = {"epoch": 2, "metrics": {"val_precision_at_1": 0.5}, "seconds": 3.0}


class Run:
    def __init__(self):
        self.logged, self.finished = [], False

    def log(self, values, step):
        if step == 13:
            raise ConnectionError("service is down")
        self.logged.append((step, values))

    def finish(self):
        self.finished = True

    def gone(self):
        raise ConnectionError("connection lost")


@pytest.fixture
def service(monkeypatch):
    module = types.ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    module.api = types.SimpleNamespace(api_key="k")
    module.run, module.asked = Run(), {}

    def init(**asked):
        module.asked = asked
        return module.run

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def spec_of(**wandb):
    return parse_spec({"wandb": {"enable": True, **wandb}}, "train", is_complete=False)


def test_epochs_arrive_under_the_settings_of_the_spec(service, tmp_path):
    spec = spec_of(
        project="p", entity="e", group="g", tags=["a", "b"], name="n", run_id="r", reinit=True,
        save_code=True,
    )  # fmt: skip
    mirror, finish = start_mirror(spec, tmp_path)
    mirror(EPOCH)
    finish()
    assert service.run.logged == [(2, {"val_precision_at_1": 0.5, "seconds": 3.0})]
    assert service.run.finished
    asked = service.asked
    assert (asked["project"], asked["entity"], asked["group"]) == ("p", "e", "g")
    assert (asked["tags"], asked["name"], asked["id"]) == (["a", "b"], "n", "r")
    assert (asked["reinit"], asked["save_code"], asked["resume"]) == (True, True, "allow")
    assert asked["config"]["wandb"]["project"] == "p"


def test_a_service_that_fails_does_not_end_a_run(service, tmp_path, caplog):
    mirror, finish = start_mirror(spec_of(), tmp_path)
    mirror(EPOCH | {"epoch": 13})
    assert "epoch 13 was not mirrored" in caplog.text
    service.run.finish = service.run.gone
    finish()
    assert "the run was not ended there: connection lost" in caplog.text

    def refuse(**asked):
        raise ConnectionError("no route")

    service.init = refuse
    mirror, finish = start_mirror(spec_of(), tmp_path)
    mirror(EPOCH)
    finish()
    assert "could not be started" in caplog.text

    del service.api  # as where the package's own import has gone wrong
    caplog.clear()
    start_mirror(spec_of(), tmp_path)
    assert "could not be started" in caplog.text


def test_without_a_key_or_package_there_is_one_warning(service, tmp_path, caplog, monkeypatch):
    service.api.api_key = None
    start_mirror(spec_of(), tmp_path)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    monkeypatch.delitem(sys.modules, "wandb")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    start_mirror(spec_of(), tmp_path)
    assert "not installed" in caplog.records[-1].message
    assert len(caplog.records) == 2


def test_switched_off_it_says_nothing(service, tmp_path, caplog):
    mirror, finish = start_mirror(spec_of(enable=False), tmp_path)
    mirror(EPOCH)
    finish()
    assert not caplog.records
    assert not service.asked
