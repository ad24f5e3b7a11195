import errno
import os

import pytest

from hpo.core.errors import RunError
from hpo.core.machine_faults import describe_fault
from hpo.run.lock_file import hold, is_locked


def test_one_process_holds_a_lock_for_itself_and_several_share_one(tmp_path):
    file = tmp_path / ".lock"
    assert not is_locked(file)
    with hold(file, lambda: "taken"):
        assert is_locked(file)
        for is_shared in (False, True):
            with (
                pytest.raises(RunError, match="^taken$"),
                hold(file, lambda: "taken", is_shared=is_shared, attempts=2),
            ):
                pass
    assert not is_locked(file)
    with hold(file, lambda: "taken", is_shared=True), hold(file, lambda: "", is_shared=True):
        assert not is_locked(file)
        with pytest.raises(RunError, match="^taken$"), hold(file, lambda: "taken", attempts=1):
            pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_one_line_with_a_remedy(tmp_path, monkeypatch, number):
    """As Lustre without `-o flock` answers."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    file = tmp_path / ".lock"
    said = os.strerror(number)
    with pytest.raises(OSError, match=said) as held, hold(file, lambda: "taken"):
        pass
    with pytest.raises(OSError, match=said) as looked_at:
        is_locked(file)
    for caught in (held, looked_at):
        line = describe_fault(caught.value)
        assert line.startswith(f"{file}: {said}; use a disk that has file locks")
        assert "-o flock" in line
