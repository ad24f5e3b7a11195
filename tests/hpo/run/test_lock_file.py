import pytest

from hpo.core.errors import RunError
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
