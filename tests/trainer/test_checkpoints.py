import json
import pickle
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
import torch

from trainer import checkpoints
from trainer.errors import CheckpointError, InfrastructureError

ROOT = Path(__file__).parents[2]


def payload(value=1.0):
    return {
        "format": checkpoints.FORMAT,
        "version": checkpoints.VERSION,
        "state_dict": {"w": torch.full((3,), value)},
    }


def test_one_write_serves_several_names(tmp_path):
    last, best = tmp_path / "ckpt" / "last.ckpt", tmp_path / "ckpt" / "best.ckpt"
    checkpoints.save(payload(1.0), [last, best])
    checkpoints.save(payload(2.0), [last])
    assert checkpoints.load(last)["state_dict"]["w"][0] == 2.0
    assert checkpoints.load(best)["state_dict"]["w"][0] == 1.0
    assert sorted(p.name for p in last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_run_that_was_moved_is_not_begun_anew_where_it_lay(tmp_path):
    """Checkpoints would lie there alone, and be missing in the run."""
    (folder := tmp_path / "0007").mkdir()
    last = folder / "ckpt" / "last.ckpt"
    checkpoints.save(payload(), [last])
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(InfrastructureError, match="cannot write the checkpoint: .* No such file"):
        checkpoints.save(payload(), [last])
    assert list(tmp_path.iterdir()) == [moved]


def test_a_class_of_another_spelling_is_the_same_class_and_another_place_is_not():
    """As names are after pictures were copied from a Mac."""
    held = {"class_names": ["b", unicodedata.normalize("NFD", "café")]}
    checkpoints.demand_classes(held, ["b", unicodedata.normalize("NFC", "café")], "x.ckpt")
    with pytest.raises(
        CheckpointError, match=r"^x\.ckpt: must be of the 2 .*number 1 was b, is caf"
    ):
        checkpoints.demand_classes(held, held["class_names"][::-1], "x.ckpt")


def test_a_full_disk_is_named_and_leaves_the_file_before_it(tmp_path):
    """torch's own writer says `unexpected pos 576 vs 534`, by which nobody could tell."""

    folder = tmp_path / "small"
    told = subprocess.run(
        [sys.executable, "-m", "tests.trainer.full_disk", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    if told.stdout.strip() == "None":
        pytest.skip("this machine lets no process mount a small file system")
    line, left, value = json.loads(told.stdout)
    assert line == (
        f"{folder}/ckpt/last.ckpt: cannot write the checkpoint: [Errno 28] No space left on device"
    )
    assert (left, value) == (["last.ckpt"], 1.0)


def test_the_thread_writes_what_was_captured_and_not_what_came_after(tmp_path):
    weights = torch.zeros(4)
    writer = checkpoints.CheckpointWriter()
    writer.submit(
        {tmp_path / "a": checkpoints.snapshot(payload() | {"state_dict": {"w": weights}})}
    )
    weights += 1
    writer.wait()
    assert checkpoints.load(tmp_path / "a")["state_dict"]["w"].sum() == 0


def test_what_is_submitted_together_is_written_without_a_pause(tmp_path):
    writer, paths = checkpoints.CheckpointWriter(interval_s=60), [tmp_path / "a", tmp_path / "b"]
    writer.submit({path: payload() for path in paths})
    deadline = time.monotonic() + 20
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    writer.wait()


def test_an_error_in_the_thread_is_raised_by_the_next_wait(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    writer = checkpoints.CheckpointWriter()
    writer.submit({tmp_path / "file" / "last.ckpt": payload()})
    with pytest.raises(InfrastructureError, match="cannot write the checkpoint"):
        writer.wait()
    writer.wait()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.ckpt: no such checkpoint"):
        checkpoints.load(tmp_path / "gone.ckpt")


class Evil:
    def __reduce__(self):
        return (print, ("code in a checkpoint ran",))


def test_a_checkpoint_with_code_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.ckpt"
    torch.save(payload() | {"extra": Evil()}, path)
    with pytest.raises(CheckpointError, match=r"holds other objects, .* never writes; refused"):
        checkpoints.load(path)
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(
        CheckpointError, match="must be a checkpoint, and is damaged or something else"
    ):
        checkpoints.load(path)
    assert "ran" not in capsys.readouterr().out


def test_weights_alone_cannot_be_resumed(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="no training state"):
        checkpoints.load(tmp_path / "weights.pth")
