import io
import os
import tarfile

import pytest

from tests.s3_server import ACCESS, SECRET, serving
from trainer.data.folder import scan_folder
from trainer.data.remote import fetch
from trainer.data.staging import stage
from trainer.errors import CredentialError, DataError


@pytest.fixture(autouse=True)
def no_keys_of_this_machine(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def store(monkeypatch):
    with serving(page=2) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


def archive_of(folder):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder, "train")
    return buffer.getvalue()


def test_an_archive_in_a_bucket_is_fetched_once(store, make_folder):
    store.objects["shop/known classes/t.tgz"] = archive_of(make_folder("train", {"a": 2, "b": 1}))
    folder = stage("s3://shop/known classes/t.tgz")
    assert scan_folder(folder).paths == ("a/0.png", "a/1.png", "b/0.png")
    assert stage("s3://shop/known classes/t.tgz") == folder
    assert store.fetched == ["shop/known classes/t.tgz"]


def test_a_folder_in_a_bucket_is_listed_page_by_page(store, make_folder):
    root = make_folder("train", {"a": 3, "b": 2})
    for path in root.rglob("*.png"):
        store.objects[f"shop/train/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    store.objects["shop/train2/c/0.png"] = b"a neighbour"
    assert len(scan_folder(stage("s3://shop/train")).paths) == 5
    assert len(store.fetched) == 5


def test_what_has_changed_in_a_bucket_is_fetched_again(store, make_folder):
    store.objects["shop/t.tgz"] = archive_of(make_folder("one", {"a": 2}))
    first = stage("s3://shop/t.tgz")
    store.objects["shop/t.tgz"] = archive_of(make_folder("two", {"a": 3}))
    assert stage("s3://shop/t.tgz") != first


def test_what_is_not_there_is_named(store):
    with pytest.raises(DataError, match="^s3://shop/none.tgz: nothing there$"):
        stage("s3://shop/none.tgz")


def test_missing_keys_are_one_line(tmp_path):
    with pytest.raises(CredentialError) as caught:
        stage("s3://shop/t.tgz")
    assert str(caught.value).startswith("s3://shop/t.tgz: no credentials; set AWS_ACCESS_KEY_ID")
    assert "\n" not in str(caught.value)


def test_refused_keys_are_one_line(store, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKOTHER")
    with pytest.raises(CredentialError, match=r"refuses the credentials \(Forbidden\)"):
        stage("s3://shop/t.tgz")


def test_keys_of_a_profile(store, make_folder, tmp_path, monkeypatch):
    store.objects["shop/t.tgz"] = archive_of(make_folder("train", {"a": 2}))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKOTHER\naws_secret_access_key = B\n"
        f"[lab]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
    )
    with pytest.raises(CredentialError, match="s3://shop/t.tgz: "):
        stage("s3://shop/t.tgz")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert len(scan_folder(stage("s3://shop/t.tgz")).paths) == 2


def test_a_key_that_points_out_of_its_folder_is_refused(store, tmp_path):
    store.objects["shop/train/../../evil.png"] = b"x"
    with pytest.raises(DataError, match="points out of its folder"):
        fetch("s3://shop/train/", tmp_path / "target")
    assert list(tmp_path.rglob("evil.png")) == []
