import platform
from importlib import metadata

from hpo.core.installed import entry_points, installed_versions


def install(folder, name, version, points):
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(points)


def named(group):
    return {point.name: point.value for point in entry_points(group)}


def test_what_is_installed_meanwhile_is_found(tmp_path, monkeypatch):
    before = named("hpo.trainers")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert named("hpo.trainers") == before
    install(tmp_path, "theirs", "1.0", "[hpo.trainers]\ntheirs = their_module:TRAINER\n")
    assert named("hpo.trainers") == before | {"theirs": "their_module:TRAINER"}
    install(tmp_path, "optuna", "77.0", "[hpo.trainers]\nother = their_module:OTHER\n")
    assert set(named("hpo.trainers")) == {*before, "theirs", "other"}
    assert installed_versions()["optuna"] == "77.0"
    monkeypatch.undo()
    assert named("hpo.trainers") == before


def test_groups_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "theirs", "1.0", "[one]\na = m:A\n[two]\nb = m:B\n")
    assert (named("one"), named("two"), named("three")) == ({"a": "m:A"}, {"b": "m:B"}, {})


def test_versions_are_those_of_the_packages():
    found = installed_versions()
    assert found.pop("python") == platform.python_version()
    assert found == {name: metadata.version(name) for name in found}
    assert "optuna" in found
    found["optuna"] = "changed by a caller"
    assert installed_versions()["optuna"] == metadata.version("optuna")
