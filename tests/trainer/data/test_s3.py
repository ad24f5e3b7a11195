import datetime as dt
import io
import os
import tarfile

import pytest

from tests.s3_server import serving
from trainer.data.folder import scan_folder
from trainer.data.s3 import Keys, S3Store, find_keys, signed_headers
from trainer.data.staging import stage
from trainer.errors import CredentialError, DataError

# The worked examples of Amazon's documentation, "Examples: Signature Calculations in AWS Signature Version 4".
PUBLISHED_KEYS = Keys(
    **{"access": "AKIAIOSFODNN7EXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
)
PUBLISHED_TIME = dt.datetime(2013, 5, 24, tzinfo=dt.UTC)


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


@pytest.mark.parametrize(
    ("url", "more", "signature"),
    [
        (
            "https://examplebucket.s3.amazonaws.com/test.txt",
            {"Range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_published_examples(url, more, signature):
    headers = signed_headers(url, PUBLISHED_KEYS, PUBLISHED_TIME, more)
    assert headers["authorization"].endswith(f"Signature={signature}")


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
    with pytest.raises(CredentialError, match=r"refuses the credentials \(InvalidAccessKeyId\)"):
        stage("s3://shop/t.tgz")


def test_keys_of_a_profile(tmp_path, monkeypatch):
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = B\n"
        "[lab]\naws_access_key_id = C\naws_secret_access_key = D%1\nregion = eu-west-1\n"
    )
    assert (find_keys().access, find_keys().secret) == ("A", "B")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    keys = find_keys()
    assert (keys.access, keys.secret, keys.region) == ("C", "D%1", "eu-west-1")


def test_a_key_that_points_out_of_its_folder_is_refused(store, tmp_path):
    store.objects["shop/train/../../evil.png"] = b"x"
    with pytest.raises(ValueError, match="points out of its folder"):
        S3Store().get("shop/train/", str(tmp_path / "target"))
    assert list(tmp_path.rglob("evil.png")) == []
