import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import fsspec
import pytest

from trainer.data import staging
from trainer.data.cached_sets import clear_caches, list_caches
from trainer.data.folder import scan_folder
from trainer.data.origin import STAGED, origin
from trainer.data.split import split_folder
from trainer.data.staging import address_of, pinned, stage
from trainer.errors import CredentialError, DataError


@pytest.fixture
def archive(make_folder, tmp_path):
    root = make_folder("train", {"a": 2, "b": 1})
    path = tmp_path / "train.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(root, "train")
    return path


def test_a_folder_is_used_where_it_is(make_folder, cache_dir):
    root = make_folder("train", {"a": 1})
    assert stage(str(root)) == root
    assert stage(f"file://{root}") == root
    assert not cache_dir.exists()


@pytest.mark.parametrize("name", ["my shots", "100%", "a%20b", "exp#1", "what?"])
def test_an_address_of_a_folder_may_be_quoted_or_not(make_folder, name):
    root = make_folder(name, {"a": 1})
    assert stage(f"file://{root}") == root
    assert stage(root.as_uri()) == root


def test_an_archive_is_unpacked_once_with_a_record(archive, cache_dir):
    folder = stage(str(archive))
    assert scan_folder(folder).paths == ("a/0.png", "a/1.png", "b/0.png")
    assert folder.is_relative_to(cache_dir)
    record = json.loads((folder.parent / STAGED).read_text())
    assert record["source"] == str(archive)
    assert record["files"] == 3
    stamp = (folder / "train" / "a" / "0.png").stat().st_mtime_ns
    assert stage(str(archive)) == folder
    assert (folder / "train" / "a" / "0.png").stat().st_mtime_ns == stamp


def test_a_changed_archive_is_unpacked_anew(archive):
    first = stage(str(archive))
    os.utime(archive, ns=(0, 0))
    assert stage(str(archive)) != first


def test_a_refused_archive_leaves_nothing(tmp_path, cache_dir):
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(Path(__file__), "good.png")
        tar.add(Path(__file__), "../evil.png")
    with pytest.raises(DataError, match="leaves the target folder"):
        stage(str(path))
    assert {p.suffix for p in (cache_dir / "staged").iterdir()} == {".lock", ".use"}


def test_processes_at_once_unpack_once(archive):
    code = "import sys; from trainer.data.staging import stage; print(stage(sys.argv[1]))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(archive)],
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    folders = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert folders == {str(stage(str(archive)))}


@pytest.mark.parametrize(
    ("name", "message"), [("missing", "no such folder or archive"), ("x.rar", "not an archive")]
)
def test_other_paths_are_refused(tmp_path, name, message):
    (tmp_path / "x.rar").write_bytes(b"x")
    with pytest.raises(DataError, match=message):
        stage(str(tmp_path / name))


def test_a_bucket_without_credentials_is_one_line(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        CredentialError, match=r"^s3://bucket/train: no credentials; set AWS"
    ) as caught:
        stage("s3://bucket/train")
    assert "\n" not in str(caught.value)


def test_a_store_without_its_package_says_what_is_missing():
    if any(Path(p, "gcsfs").is_dir() for p in sys.path):
        pytest.skip("gcsfs is installed here: the message of its absence cannot be seen")
    with pytest.raises(CredentialError, match=r"^gs://bucket/train: .*gcsfs") as caught:
        stage("gs://bucket/train")
    assert "\n" not in str(caught.value)


@pytest.fixture
def bucket():
    """A store that lives in this process."""
    shop = fsspec.filesystem("memory")
    shop.pipe("/pins/train/a/0.png", b"one")
    yield shop
    if shop.exists("/pins"):
        shop.rm("/pins", recursive=True)


def files_in(address):
    return sorted(path.name for path in stage(address).rglob("*.png"))


def test_an_address_is_pinned_to_what_it_holds_and_the_store_is_asked_no_more(bucket):
    pin = pinned("memory://pins/train")
    assert pin.startswith("memory://pins/train#state=")
    assert (pinned(pin), address_of(pin)) == (pin, "memory://pins/train")
    bucket.pipe("/pins/train/a/1.png", b"two")
    assert files_in(pin) == ["0.png"]
    assert files_in("memory://pins/train") == ["0.png", "1.png"]
    assert pinned("memory://pins/train") != pin
    bucket.rm("/pins", recursive=True)
    assert files_in(pin) == ["0.png"]
    assert origin(stage(pin) / "a/0.png") == "memory://pins/train/a/0.png"


def test_a_pinned_address_is_fetched_again_where_the_cache_is_another_and_refused_if_changed(
    bucket, monkeypatch, tmp_path
):
    pin = pinned("memory://pins/train")
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "of another machine"))
    assert files_in(pin) == ["0.png"]
    bucket.pipe("/pins/train/a/1.png", b"two")
    assert files_in(pin) == ["0.png"]
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "of a third"))
    with pytest.raises(DataError, match="^memory://pins/train: must hold what it held when"):
        stage(pin)


def test_a_source_on_this_machine_is_not_pinned(make_folder):
    root = make_folder("train#state=x", {"a": 1})
    for name in (str(root), f"file://{root}"):
        assert pinned(name) == address_of(name) == name
        assert stage(name) == root


@pytest.fixture
def let_go():
    """Have this process use no copy any more, as if it had ended."""

    def close():
        while staging._held:
            os.close(staging._held.popitem()[1])

    yield close
    close()


def test_a_copy_is_listed_left_while_it_is_used_and_then_cleared(archive, cache_dir, let_go):
    folder = stage(str(archive))
    (entry,) = list_caches()
    assert (entry.kind, entry.source, entry.num_images) == ("staged", str(archive), 3)
    assert entry.num_bytes == sum(p.stat().st_size for p in folder.rglob("*.png"))
    assert entry.is_in_use
    assert "height" not in entry.as_dict()
    assert clear_caches() == []
    let_go()
    assert clear_caches(older_than_s=60) == []
    assert [e.source for e in clear_caches(names=[str(archive)])] == [str(archive)]
    assert not folder.exists()
    assert stage(str(archive)) == folder


def test_what_a_kill_left_of_an_unpacking_goes(archive, cache_dir, let_go):
    stage(str(archive))
    (cache_dir / "staged" / f"{'0' * 32}.tmp" / "files" / "a").mkdir(parents=True)
    (cache_dir / "staged" / f"{'1' * 32}.tmp" / "of another").mkdir(parents=True)
    clear_caches()
    left = [path.name for path in (cache_dir / "staged").glob("*.tmp")]
    assert left == [f"{'1' * 32}.tmp"]


def test_the_longest_unused_copy_goes_when_the_bound_is_reached(
    make_folder, tmp_path, let_go, monkeypatch
):
    folders = []
    for number in range(3):
        path = tmp_path / f"{number}.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(make_folder(f"set{number}", {"a": 3}), "a")
        if number == 2:
            size = sum(entry.num_bytes for entry in list_caches())
            monkeypatch.setenv("HPO_CACHE_GB", str(size * 1.2 / 1e9))
        folders.append(stage(str(path)))
        let_go()
        os.utime(folders[-1].parent / STAGED, (time.time() - 100 + number,) * 2)
        if number == 1:
            stage(str(tmp_path / "0.tar"))
            let_go()
    assert [folder.exists() for folder in folders] == [True, False, True]


@pytest.mark.parametrize("holds", ["classes", "splits"])
def test_what_was_split_comes_back_with_the_archive(
    archive, make_folder, tmp_path, cache_dir, let_go, holds
):
    classes = {"a": 8, "b": 8}
    if holds == "splits":
        folders = {n: make_folder(f"s/{n}", classes).parent for n in ("train", "gallery", "val")}
        root = folders["train"]
    else:
        root = make_folder("s", classes)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root, "s")
    parts = split_folder(archive, tmp_path / "out", seed=0)
    before = scan_folder(stage(parts["train"])).paths
    assert [entry.is_in_use for entry in list_caches()] == [True]
    let_go()
    stage(parts["train"])
    assert [entry.is_in_use for entry in list_caches()] == [True]  # by its split alone
    let_go()
    assert len(clear_caches()) == 1
    assert scan_folder(stage(parts["train"])).paths == before
    let_go()
    clear_caches()
    os.utime(archive, ns=(0, 0))
    with pytest.raises(DataError, match=r"train.tar.gz: must hold what it held when"):
        stage(parts["train"])


def test_an_address_that_was_fetched_and_cleared_is_fetched_again(bucket, cache_dir, let_go):
    folder = stage("memory://pins/train")
    let_go()
    assert [entry.source for entry in clear_caches()] == ["memory://pins/train"]
    assert stage(str(folder)) == folder
    assert files_in("memory://pins/train") == ["0.png"]


def test_a_folder_of_the_user_that_looks_like_a_copy_gets_no_files(tmp_path):
    folder = tmp_path / "staged" / ("0" * 32) / "files"
    folder.mkdir(parents=True)
    assert stage(str(folder)) == folder
    assert [path.name for path in (tmp_path / "staged").iterdir()] == ["0" * 32]
