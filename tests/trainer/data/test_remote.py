import tarfile

import fsspec
import pytest

from trainer.data.folder import scan_folder
from trainer.data.remote import fetch, fingerprint
from trainer.data.staging import stage
from trainer.errors import CredentialError, DataError


@pytest.fixture
def store():
    """fsspec's own store in memory: a real remote file system, without a network."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    yield memory
    memory.store.clear()


def put_folder(store, root, address):
    for path in root.rglob("*.png"):
        store.pipe(f"{address}/{path.relative_to(root).as_posix()}", path.read_bytes())


def test_a_remote_folder_is_fetched_as_it_is(store, make_folder, tmp_path):
    root = make_folder("train", {"a": 2, "b": 1})
    put_folder(store, root, "/bucket/train")
    fetched = fetch("memory://bucket/train", tmp_path / "fetched")
    assert scan_folder(fetched).paths == ("a/0.png", "a/1.png", "b/0.png")
    assert (fetched / "a" / "1.png").read_bytes() == (root / "a" / "1.png").read_bytes()


def test_a_remote_archive_is_staged_once(store, make_folder, tmp_path):
    root = make_folder("train", {"a": 2})
    with tarfile.open(tmp_path / "t.tgz", "w:gz") as tar:
        tar.add(root, "train")
    store.pipe("/bucket/t.tgz", (tmp_path / "t.tgz").read_bytes())
    folder = stage("memory://bucket/t.tgz")
    assert scan_folder(folder).paths == ("a/0.png", "a/1.png")
    assert not (folder.parent / "fetched").exists()
    assert stage("memory://bucket/t.tgz") == folder


def test_a_remote_folder_is_staged_with_a_record(store, make_folder):
    put_folder(store, make_folder("train", {"a": 2}), "/bucket/train")
    folder = stage("memory://bucket/train")
    assert scan_folder(folder).classes == ("a",)
    assert (folder.parent / "staging.json").is_file()


def test_fingerprint_follows_what_is_there(store):
    store.pipe("/bucket/train/a/0.png", b"one")
    first = fingerprint("memory://bucket/train")
    assert fingerprint("memory://bucket/train") == first
    store.pipe("/bucket/train/a/1.png", b"two")
    assert fingerprint("memory://bucket/train") != first


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("memory://bucket/none", "nothing there"),
        ("nosuchstore://bucket/x", "nosuchstore"),
    ],
)
def test_wrong_addresses_are_named(store, uri, message):
    with pytest.raises(DataError, match=message) as caught:
        fingerprint(uri)
    assert str(caught.value).startswith(uri)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(DataError, match=r"^ftp://bob@h/x.zip: must be given without") as caught:
        fingerprint("ftp://bob:secret@h/x.zip?sig=secret")
    assert "secret" not in str(caught.value)


def test_a_signed_address_is_fetched_and_its_signature_not_told(store, tmp_path):
    uri = "memory://bucket/set.zip?X-Amz-Signature=" + "a" * 300
    store.pipe("/" + uri.partition("://")[2], b"PK")
    assert fetch(uri, tmp_path / "fetched") == tmp_path / "fetched" / "set.zip"
    with pytest.raises(DataError, match=r"^memory://none: nothing there$"):
        fingerprint("memory://none?X-Amz-Signature=aa")


@pytest.mark.parametrize(
    "error",
    [PermissionError("no"), OSError("Forbidden: 403"), ValueError("Unable to locate credentials")],
)
def test_refusals_are_told_as_credentials(store, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(type(store), "info", refuse)
    with pytest.raises(CredentialError, match="memory://bucket/x: "):
        fingerprint("memory://bucket/x")
