import io
import stat
import tarfile
import zipfile

import pytest

from trainer.data.archive import archive_suffix, extract
from trainer.errors import DataError, InfrastructureError


def tar_member(name, content=b"x", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def write_tar(path, *members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if info.isfile() else None)
    return path


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def files_below(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar.gz", "w:gz"), ("a.TGZ", "w:gz"), ("a.tar", "w")]
)
def test_tar_members_arrive_with_their_content(tmp_path, target, name, mode):
    archive = write_tar(
        tmp_path / name,
        tar_member("cats", type=tarfile.DIRTYPE),
        tar_member("cats/1.png", b"one"),
        tar_member("./dogs/2.png", b"two!"),
        mode=mode,
    )
    assert extract(archive, target) == (2, 7)
    assert files_below(target) == {"cats/1.png", "dogs/2.png"}
    assert (target / "dogs" / "2.png").read_bytes() == b"two!"


def test_zip_members_arrive_with_their_content(tmp_path, target):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("cats/", "")
        packed.writestr("cats/1.png", b"one")
    assert extract(archive, target) == (1, 3)
    assert files_below(target) == {"cats/1.png"}


def test_links_inside_become_copies(tmp_path, target):
    archive = write_tar(
        tmp_path / "a.tar.gz",
        tar_member("a/1.png", b"one"),
        tar_member("b/1.png", b"", type=tarfile.SYMTYPE, linkname="../a/1.png"),
        tar_member("c/1.png", b"", type=tarfile.LNKTYPE, linkname="a/1.png"),
    )
    extract(archive, target)
    for name in ("b", "c"):
        path = target / name / "1.png"
        assert not path.is_symlink()
        assert path.read_bytes() == b"one"


EVIL = {
    "leaves the target folder": [
        tar_member("../evil.png"),
        tar_member("a/../../evil.png"),
    ],
    "has an absolute path": [
        tar_member("/evil.png"),
        tar_member("C:\\evil.png"),
        tar_member("a\\..\\evil.png"),
    ],
    "links out of the target folder": [
        tar_member("a", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        tar_member("a", b"", type=tarfile.SYMTYPE, linkname="../outside"),
        tar_member("a/b", b"", type=tarfile.SYMTYPE, linkname="../../outside"),
        tar_member("a", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        tar_member("a/b", b"", type=tarfile.LNKTYPE, linkname="../outside"),
    ],
    "links to nothing in the archive": [
        tar_member("a", b"", type=tarfile.SYMTYPE, linkname="missing.png"),
    ],
    "is a device or pipe": [
        tar_member("a", b"", type=tarfile.CHRTYPE),
        tar_member("a", b"", type=tarfile.BLKTYPE),
        tar_member("a", b"", type=tarfile.FIFOTYPE),
    ],
    "lies too deep": [tar_member("/".join("d" * 40) + "/x.png")],
}


@pytest.mark.parametrize(
    ("refusal", "member"), [(text, member) for text, members in EVIL.items() for member in members]
)
def test_members_that_reach_outside_are_refused(tmp_path, target, refusal, member):
    archive = write_tar(tmp_path / "a.tar.gz", member)
    outside = set(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=refusal) as caught:
        extract(archive, target)
    assert "\n" not in str(caught.value)
    assert set(tmp_path.rglob("*")) == outside


def test_a_folder_linked_out_does_not_carry_files_out(tmp_path, target):
    archive = write_tar(
        tmp_path / "a.tar.gz",
        tar_member("a", b"", type=tarfile.SYMTYPE, linkname=str(tmp_path)),
        tar_member("a/evil.png"),
    )
    with pytest.raises(DataError, match="links out of the target folder"):
        extract(archive, target)
    assert not (tmp_path / "evil.png").exists()


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png"])
def test_zip_members_that_reach_outside_are_refused(tmp_path, target, name):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(name, b"x")
    with pytest.raises(DataError, match=r"leaves the target folder|has an absolute path"):
        extract(archive, target)
    assert files_below(target) == set()


def test_zip_links_are_refused(tmp_path, target):
    archive = tmp_path / "a.zip"
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="is a link or device"):
        extract(archive, target)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused_before_it_unpacks(tmp_path, target, kind, monkeypatch):
    monkeypatch.setattr("trainer.data.archive._RATIO_FREE_BYTES", 1_000_000)
    archive = tmp_path / f"bomb.{kind}"
    zeros = bytes(30_000_000)
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("a/0.png", zeros)
    else:
        write_tar(archive, tar_member("a/0.png", zeros))
    with pytest.raises(DataError, match="refused as a decompression bomb"):
        extract(archive, target)
    assert sum(p.stat().st_size for p in target.rglob("*") if p.is_file()) < 15_000_000


def test_small_drawings_may_shrink_a_lot(tmp_path, target):
    archive = write_tar(tmp_path / "a.tar.gz", tar_member("a/0.bmp", bytes(5_000_000)))
    assert extract(archive, target) == (1, 5_000_000)


def test_a_full_disk_is_not_called_damage(tmp_path, target, monkeypatch):
    usage = type("Usage", (), {"free": 64_000_010})()
    monkeypatch.setattr("trainer.data.archive.shutil.disk_usage", lambda _: usage)
    archive = write_tar(tmp_path / "a.tar.gz", tar_member("a/0.png", b"x" * 100))
    with pytest.raises(InfrastructureError, match="disk of the cache is full"):
        extract(archive, target)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a.zip"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 100])
def test_damaged_archives_are_named(tmp_path, target, name, content):
    archive = tmp_path / name
    archive.write_bytes(content)
    with pytest.raises(DataError, match="damaged or not an archive") as caught:
        extract(archive, target)
    assert str(caught.value).startswith(str(archive))


def test_a_truncated_archive_is_named(tmp_path, target):
    archive = write_tar(tmp_path / "a.tar.gz", tar_member("a/0.png", bytes(range(256)) * 4000))
    archive.write_bytes(archive.read_bytes()[:-400])
    with pytest.raises(DataError, match="damaged or not an archive"):
        extract(archive, target)


def test_suffixes():
    assert archive_suffix("x.TAR.GZ") == ".tar.gz"
    assert archive_suffix("x.zip") == ".zip"
    assert archive_suffix("x.rar") is None
