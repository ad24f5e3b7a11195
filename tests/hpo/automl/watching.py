"""Compares the bytes of a skill folder before and after every run, on every way of the route."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest


def bytes_of(folder):
    """Every file of a folder, by its relative path."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _comparing(call, folder_of):
    @functools.wraps(call)
    def run(*args, **more):
        folder = folder_of(args[0])
        before = bytes_of(folder)
        try:
            return call(*args, **more)
        finally:
            assert bytes_of(folder) == before, f"{folder}: a skill folder is only read"

    return run


@pytest.fixture(autouse=True)
def skill_folders_are_only_read(monkeypatch):
    """Hold it for every search, plain training, and object that is asked and told."""
    from hpo.automl import ask_tell, execute, plain_run, runner

    searching = _comparing(execute.execute, lambda request: request.skill.path)
    for module in (execute, runner):
        monkeypatch.setattr(module, "execute", searching)
    training = _comparing(plain_run.run_directly, lambda skill: skill.path)
    monkeypatch.setattr(plain_run, "run_directly", training)
    for name in ("next_recommendation", "report_result", "result", "finish"):
        asked = _comparing(getattr(ask_tell.AutoML, name), lambda automl: automl.facts.skill_dir)
        monkeypatch.setattr(ask_tell.AutoML, name, asked)
