import hashlib
import subprocess
import sys

from hpo.core.seeds import derive_seed


def test_seed_is_the_head_of_a_sha256():
    digest = hashlib.sha256(b"7\x1fconfirm\x1f3").hexdigest()
    assert derive_seed(7, "confirm", 3) == int(digest[:8], 16) // 2


def test_parts_are_kept_apart():
    assert derive_seed("a", "bc") != derive_seed("ab", "c")
    assert len({derive_seed(0, n) for n in range(1000)}) == 1000
    assert all(0 <= derive_seed(0, n) < 2**31 for n in range(1000))


def test_same_seed_under_another_hash_salt():
    code = "from hpo.core.seeds import derive_seed; print(derive_seed(0, 'x', 5))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": salt, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for salt in ("1", "2")
    }  # fmt: skip
    assert said == {f"{derive_seed(0, 'x', 5)}\n"}
