import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.crashes.driver import on_disk
from tests.decoded import open_cache
from trainer.data.cache import cache_key, open_cached_images
from trainer.data.cached_sets import clear_caches, list_caches
from trainer.data.decode import ImageSize
from trainer.data.folder import scan_folder
from trainer.data.framing import Cut, Framing
from trainer.errors import ImageError, InfrastructureError, SpecError

NO_ROOM = os.strerror(errno.ENOSPC)
"""Words of a message by which a search does not count the trial as failed (`hpo.run.disk_errors`)."""
SIZE = ImageSize(height=12, width=10)

BUILD = """
import sys, time
from pathlib import Path
from trainer.data import decoding
from tests.decoded import open_cache
from trainer.data.decode import ImageSize
from trainer.data.folder import scan_folder

log, pause, plain = Path(sys.argv[2]), float(sys.argv[3]), decoding.decode_image

def counted(*args):
    with log.open("a") as file:
        file.write(f"{args[0]}\\n")
    time.sleep(pause)
    return plain(*args)

decoding.decode_image = counted
cached = open_cache(scan_folder(sys.argv[1]), ImageSize(height=12, width=10), workers=2)
print(int(cached.astype("int64").sum()))
"""


@pytest.fixture
def folder(make_folder):
    return scan_folder(make_folder("train", {"a": 5, "b": 4}))


def builder(folder, log: Path, pause: float = 0.0) -> subprocess.Popen[str]:
    """Another process that opens the same cache and writes down what it decodes."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    argv = [sys.executable, "-c", BUILD, str(folder.root), str(log), str(pause)]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)


def test_cache_holds_every_image_resized_in_order(folder):
    images = open_cache(folder, SIZE)
    assert images.shape == (9, 12, 10, 3)
    assert images.dtype == np.uint8
    for i, path in enumerate(folder.paths):
        picture = Image.open(folder.root / path).resize((10, 12), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(images[i], np.asarray(picture))


def test_cache_is_read_only(folder):
    images = open_cache(folder, SIZE)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_sizes_of_the_files_are_kept(folder):
    assert open_cached_images(folder, SIZE).sizes.tolist() == [[24, 20]] * 9


def test_second_opening_decodes_nothing(folder, monkeypatch):
    first = open_cache(folder, SIZE)

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr("trainer.data.decoding.decode_image", refuse)
    np.testing.assert_array_equal(open_cache(folder, SIZE), first)


def test_changed_added_and_removed_files_give_another_key(folder):
    keys = {cache_key(folder, SIZE)}
    path = folder.root / "a" / "0.png"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same time
    keys.add(cache_key(folder, SIZE))
    (folder.root / "a" / "9.png").write_bytes(content)
    keys.add(cache_key(scan_folder(folder.root), SIZE))
    path.unlink()
    keys.add(cache_key(scan_folder(folder.root), SIZE))
    assert len(keys) == 4


def test_pictures_brought_to_one_size_in_other_ways_are_kept_apart(folder):
    ways = [
        Framing(),
        Framing(interpolation="bicubic"),
        *(Framing(cut=Cut(height=10, width=10, share=share)) for share in (0.8, 0.7)),
        Framing(cut=Cut(height=8, width=8, share=0.8)),
    ]
    assert len({cache_key(folder, SIZE, framing) for framing in ways}) == len(ways)
    square = ImageSize(height=12, width=12)
    squashed, cut = (open_cache(folder, square, way) for way in (ways[0], ways[2]))
    assert not np.array_equal(squashed, cut)


@pytest.mark.parametrize(
    "other",
    [
        ImageSize(height=10, width=12),
        ImageSize(height=12, width=10, channels=1),
        ImageSize(height=24, width=10),
    ],
)
def test_every_size_has_a_cache_of_its_own(folder, other):
    open_cache(folder, SIZE)
    images = open_cache(folder, other)
    assert images.shape[1:] == (other.height, other.width, other.channels)
    assert len(list_caches()) == 2


def test_a_rewritten_image_is_decoded_again(folder):
    open_cache(folder, SIZE)
    Image.new("RGB", (20, 24), (7, 8, 9)).save(folder.root / "a" / "0.png")
    assert open_cache(folder, SIZE)[0, 0, 0].tolist() == [7, 8, 9]


def test_broken_images_are_counted_and_the_first_named(folder, cache_dir):
    for name in ("b/1.png", "a/3.png", "b/0.png"):
        (folder.root / name).write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"3 of 9 files cannot be read") as caught:
        open_cache(folder, SIZE)
    assert str(caught.value).startswith(str(folder.root / "a" / "3.png"))
    assert not list(cache_dir.glob("images/*.tmp"))
    assert list_caches() == []


def test_progress_ends_at_the_number_of_images(folder):
    calls = []
    open_cache(folder, SIZE, progress=lambda *call: calls.append(call), workers=1)
    assert calls[-1] == ("decoding pictures", 9, 9)


def test_processes_at_once_decode_every_image_once(folder, tmp_path):
    log = tmp_path / "opened"
    processes = [builder(folder, log, pause=0.02) for _ in range(4)]
    sums = {process.communicate(timeout=60)[0] for process in processes}
    opened = log.read_text().splitlines()
    assert sorted(opened) == sorted(str(folder.root / path) for path in folder.paths)
    assert sums == {f"{open_cache(folder, SIZE).astype('int64').sum()}\n"}


def test_a_kill_in_the_middle_leaves_nothing_in_the_way(folder, tmp_path, cache_dir):
    log = tmp_path / "opened"
    process = builder(folder, log, pause=0.5)
    deadline = time.monotonic() + 30
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(cache_dir.glob("images/*.tmp"))
    assert list_caches() == []
    assert open_cache(folder, SIZE).shape == (9, 12, 10, 3)
    assert not list(cache_dir.glob("images/*.tmp"))


@pytest.mark.parametrize("name", ["meta.json", "sizes.npy", "images.npy"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_set_that_a_power_cut_or_a_kill_has_damaged_is_made_anew(
    folder, make_folder, cache_dir, name, is_there
):
    def sets():
        return [path for path in (cache_dir / "images").iterdir() if path.is_dir()]

    images = open_cache(folder, SIZE).copy()
    (target,) = sets()
    for _ in range(2):
        (target / name).write_bytes(b"")
        if not is_there:
            (target / name).unlink()
        assert len(list_caches()) == (name != "meta.json")
        np.testing.assert_array_equal(open_cache(folder, SIZE), images)
    open_cache(scan_folder(make_folder("other", {"a": 1})), SIZE)  # for which room is made
    assert len(list_caches()) == len(sets())
    clear_caches()
    assert sets() == []


def test_a_removal_that_is_cut_off_leaves_no_set(folder, cache_dir, monkeypatch):
    open_cache(folder, SIZE)

    def cut_off(path, **_):
        if path.exists():
            next(path.glob("*.npy")).unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", cut_off)
        clear_caches()
    assert list_caches() == []
    assert open_cache(folder, SIZE).shape == (9, 12, 10, 3)
    assert [d.suffix for d in (cache_dir / "images").iterdir() if d.is_dir()] == [""]


def test_what_others_keep_in_the_folder_is_neither_told_nor_removed(folder, cache_dir):
    theirs = ["shelf/a.jpg", "shelf/meta.json", f"{'0' * 32}/a.jpg", f"{'1' * 32}.tmp/a.jpg"]
    for path in (cache_dir / "images" / name for name in [*theirs, "shelf.tmp", "x.tmp/a.jpg"]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    before = {path for path in cache_dir.rglob("*") if path.is_file()}
    open_cache(folder, SIZE)
    assert [entry.source for entry in list_caches()] == [str(folder.root)]
    assert len(clear_caches()) == 1
    left = {path for path in cache_dir.rglob("*") if path.is_file()}
    assert {path for path in left if path.suffix not in {".lock", ".use"}} == before


def test_sets_of_another_user_are_left_to_him(folder, cache_dir, monkeypatch):
    open_cache(folder, SIZE)

    def denied(path, *args, **kwargs):
        if path.suffix in {".lock", ".use"}:
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, *args, **kwargs)  # noqa: PTH123 - the method is what is replaced

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", denied)
        assert clear_caches() == []
        assert [entry.is_in_use for entry in list_caches()] == [True]
    assert len(clear_caches()) == 1


def test_listing_tells_source_count_and_bytes(folder):
    open_cache(folder, SIZE)
    (entry,) = list_caches()
    assert entry.source == str(folder.root)
    assert entry.num_images == 9
    assert entry.size == SIZE
    assert entry.num_bytes >= 9 * 12 * 10 * 3


def test_clearing_removes_all(folder):
    del_later = [open_cache(folder, SIZE), open_cache(folder, ImageSize(height=5, width=5))]
    del_later.clear()
    assert len(clear_caches()) == 2
    assert list_caches() == []


def test_what_is_mapped_is_left_until_its_last_view_is_gone(folder):
    view = open_cache(folder, SIZE)[2:4, :, :, 0]
    total = int(view.astype(np.int64).sum())
    assert list_caches()[0].is_in_use
    assert clear_caches() == []
    assert int(view.astype(np.int64).sum()) == total
    del view
    assert not list_caches()[0].is_in_use
    assert len(clear_caches()) == 1


def test_caches_are_cleared_by_name_source_and_age(make_folder):
    folders = [scan_folder(make_folder(f"set{i}", {"a": 3})) for i in range(3)]
    for folder in folders:
        open_cache(folder, SIZE)
    by_source = {entry.source: entry for entry in list_caches()}
    roots = [str(folder.root) for folder in folders]
    assert clear_caches(older_than_s=3600) == []
    assert [e.source for e in clear_caches(names=[by_source[roots[0]].name])] == [roots[0]]
    assert [e.source for e in clear_caches(names=[roots[1]])] == [roots[1]]
    assert [e.source for e in list_caches()] == [roots[2]]
    with pytest.raises(
        SpecError, match=r"nothing: no decoded pictures, features or unpacked files of that"
    ):
        clear_caches(names=["nothing"])


def test_what_is_in_use_is_not_dropped_for_the_bound(make_folder, monkeypatch):
    folders = [scan_folder(make_folder(f"set{i}", {"a": 9})) for i in range(2)]
    monkeypatch.setenv("HPO_CACHE_GB", "0.000004")
    kept = open_cache(folders[0], SIZE)
    open_cache(folders[1], SIZE)
    assert {entry.source for entry in list_caches()} == {str(f.root) for f in folders}
    assert kept.shape == (9, 12, 10, 3)


def test_clearing_leaves_what_is_being_built(folder, tmp_path, cache_dir):
    log = tmp_path / "opened"
    process = builder(folder, log, pause=0.3)
    while not log.exists():
        time.sleep(0.02)
    clear_caches()
    assert list(cache_dir.glob("images/*.tmp"))
    assert process.communicate(timeout=60)[0]
    assert process.returncode == 0


def test_the_longest_unused_goes_when_the_bound_is_reached(make_folder, monkeypatch):
    folders = [scan_folder(make_folder(f"set{i}", {"a": 9})) for i in range(3)]
    monkeypatch.setenv("HPO_CACHE_GB", "0.000008")  # two caches of 9 x 360 bytes and their headers
    for age, folder in zip((300, 200), folders, strict=False):
        open_cache(folder, SIZE)
        meta = list_caches()[0].path / "meta.json"
        os.utime(meta, (time.time() - age, time.time() - age))
    open_cache(folders[2], SIZE)
    assert {entry.source for entry in list_caches()} == {str(f.root) for f in folders[1:]}


def test_a_full_disk_is_said_before_decoding(folder, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("trainer.data.set_store.shutil.disk_usage", lambda _: usage)
    with pytest.raises(InfrastructureError, match=f"{NO_ROOM}.*set HPO_CACHE_DIR to a larger disk"):
        open_cache(folder, SIZE)


def test_a_disk_that_fills_while_pictures_are_decoded_is_an_error(folder, tmp_path, monkeypatch):
    """A user's quota does so, too, which nothing tells before: a store to the map ends the process."""
    usage = type("Usage", (), {"free": 1 << 40})()
    monkeypatch.setattr("trainer.data.set_store.shutil.disk_usage", lambda _: usage)

    def work():
        size = ImageSize(height=400, width=400, channels=3)
        with pytest.raises(OSError, match="No space left on device") as caught:
            open_cached_images(folder, size, cache_dir=tmp_path / "disk")
        return str(caught.value.filename)

    told = on_disk(tmp_path / "disk", "size=1m", work)
    if told is None:
        pytest.skip("this machine lets no process mount a file system")
    assert told == f"{tmp_path}/disk/images"


def test_wrong_bound_is_refused(folder, monkeypatch):
    monkeypatch.setenv("HPO_CACHE_GB", "lots")
    with pytest.raises(SpecError, match="HPO_CACHE_GB: a positive number of gigabytes"):
        open_cache(folder, SIZE)


def test_threads_of_one_process_share_a_build(folder):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(open_cache(folder, SIZE).shape))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(9, 12, 10, 3)] * 4
