"""The driver's moments: public methods, wrapped in the harness's own child process."""

from __future__ import annotations

import functools

import hpo.results.handoff
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.engine import Engine
from hpo.searching.session import Session
from hpo.searching.state_writer import StateWriter
from tests.crashes.trap import LEDGERS, pass_by


class Hooks:
    """Wraps the methods of a driver that will run in this process, all for runs below `out`."""

    def __init__(self, out):
        self.out, self.writing = out, {}

    def pass_by(self, hook, when, **facts):
        pass_by(self.out, hook, when, **facts)

    def install(self):
        self._watch_ledger()
        self._wrap(RunDir, "write_spec", lambda _, number, spec: {"number": number})
        self._wrap(
            Engine, "on_epoch",
            lambda engine, number, payload: {"number": number, "epoch": payload["epoch"]},
            is_real=lambda engine: engine.specs.run is not None,
        )  # fmt: skip
        self._wrap(StateWriter, "close_as", lambda _, status, **_extra: {"status": status})
        self._wrap(hpo.results.handoff, "write_json", lambda path, _: {"name": path.name})
        make = Session.make_algorithm

        @functools.wraps(make)
        def make_watched(session):
            LEDGERS.append(session.ledger)
            algorithm = make(session)
            self._wrap(algorithm, "ask", lambda number: {"number": number})
            return algorithm

        Session.make_algorithm = make_watched

    def _wrap(self, owner, name, facts_of, is_real=lambda *_: True):
        method = getattr(owner, name)

        @functools.wraps(method)
        def watched(*args, **kwargs):
            if not is_real(*args[:1]):  # a rehearsal is no search
                return method(*args, **kwargs)
            facts = facts_of(*args, **kwargs)
            self.pass_by(name, "before", **facts)
            result = method(*args, **kwargs)
            self.pass_by(name, "after", **facts)
            return result

        setattr(owner, name, watched)

    def _watch_ledger(self):
        """Also between the two writes of an epoch and of an end."""
        from optuna.storages import RDBStorage

        def is_on_disk(ledger):
            return hasattr(ledger._storage, "engine")

        def started(_, suggestion, **more):
            return {"number": suggestion.number, "purpose": more.get("purpose", "search")}

        def recorded(_, number, measurement, **more):
            self.writing = {"number": number, "epoch": measurement.epoch}
            return self.writing

        def finished(_, number, state, **more):
            self.writing = {"number": number}
            return self.writing

        for name, facts_of in [
            ("start", started),
            ("record", recorded),
            ("finish", finished),
            ("choose", lambda _, number: {}),
        ]:
            self._wrap(Ledger, name, facts_of, is_on_disk)
        for name in ("set_trial_intermediate_value", "set_trial_state_values"):
            self._wrap(RDBStorage, name, lambda *args: dict(self.writing))
