import os
import subprocess
import time

import pytest

from hpo.core.process import children
from hpo.core.process.groups import is_alive


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_bound_module_runs_with_its_words_and_ends_with_who_started_it(tmp_path, is_killed):
    said = tmp_path / "said"
    (tmp_path / "a_module.py").write_text(
        "import subprocess, sys, time\n"
        "subprocess.Popen(['sleep', '60'])\n"
        "open(sys.argv[1], 'w').write(f'{__name__} {sys.argv[2:]}')\n"
        "time.sleep(60)\n"
    )
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            child = subprocess.Popen(
                children.bound("a_module", str(said), "--port", "1"),
                env=os.environ | {"PYTHONPATH": str(tmp_path)},
                start_new_session=True,
            )
            os.write(writing, str(child.pid).encode())
            time.sleep(60 if is_killed else 0)
        finally:
            os._exit(0)
    group = int(os.read(reading, 20))
    os.close(reading)
    os.close(writing)
    if is_killed:
        _await(lambda: said.exists() and said.read_text())
        assert said.read_text() == "__main__ ['--port', '1']"
        os.kill(parent, 9)
    os.waitpid(parent, 0)
    _await(lambda: not is_alive(group))


def _await(holds):
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)
