"""Folders of one's own, against what another user of the machine may have put in their place."""

import os
import tempfile

import pytest

from hpo.core.errors import MachineError
from hpo.core.own_folder import is_own, make_own, scratch_folder, temporary_place
from tests.nobody import plant_folder


def test_a_folder_is_made_for_this_user_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "new"))
    folder = temporary_place("hpo-things")
    assert folder == tmp_path / "new" / f"hpo-things-{os.geteuid()}"
    assert not is_own(folder)
    for _ in range(2):
        assert make_own(folder) == folder
        assert folder.stat().st_mode & 0o777 == 0o700


def test_what_another_user_has_put_there_is_refused(tmp_path):
    folder = plant_folder(tmp_path / "x-1000")
    assert not is_own(folder)
    with pytest.raises(MachineError, match=f"^{folder}: must be a folder of yours.*another user's"):
        make_own(folder)
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="File exists"):
        make_own(tmp_path / "file")


@pytest.mark.parametrize(("mode", "alone"), [(0o700, True), (0o711, False), (0o770, False)])
def test_who_else_may_enter(tmp_path, mode, alone):
    tmp_path.chmod(mode)
    assert is_own(tmp_path)
    assert is_own(tmp_path, alone=True) is alone


def test_a_scratch_folder_goes_in_the_end_and_what_a_kill_left_with_the_next_one(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("hpo-x-1.held", "hpo-x-2", "hpo-y-1.held"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "picture.jpg").touch()
    (tmp_path / "hpo-x-link.held").symlink_to(tmp_path / "hpo-y-1.held")
    others = {"hpo-x-2", "hpo-y-1.held", "hpo-x-link.held"}
    with scratch_folder("hpo-x") as first:
        assert first.stat().st_mode & 0o777 == 0o700
        with scratch_folder("hpo-x") as second:  # the first one is held
            assert {path.name for path in tmp_path.iterdir()} == others | {first.name, second.name}
    assert {path.name for path in tmp_path.iterdir()} == others
    assert (tmp_path / "hpo-y-1.held" / "picture.jpg").is_file()
