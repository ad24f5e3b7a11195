import errno
import gzip
import os
import stat
import tarfile
import zipfile

import pytest

from tests.trainer.data.packing import files_below, tar_member, write_tar
from trainer.data.archive import extract
from trainer.errors import DataError, InfrastructureError


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("a.tar.gz", "w:gz"), ("a.TGZ", "w:gz"), ("a.tar", "w"), ("a.tar.bz2", "w:bz2")),
        *(("a.tbz", "w:bz2"), ("a.tar.xz", "w:xz"), ("a.zip", "w:gz"), ("a", "w"), ("a.jpg", "w")),
    ],
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
        tar_member("\\evil.png"),
        tar_member("\\\\server\\evil.png"),
    ],
    r"has '\.\.' in its path": [tar_member("a/../evil.png"), tar_member("a\\..\\evil.png")],
    "links out of the target folder": [
        tar_member("a", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        tar_member("a", b"", type=tarfile.SYMTYPE, linkname="../outside"),
        tar_member("a/b", b"", type=tarfile.SYMTYPE, linkname="../../outside"),
        tar_member("a", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        tar_member("a/b", b"", type=tarfile.LNKTYPE, linkname="../outside"),
        tar_member("a/b", b"", type=tarfile.SYMTYPE, linkname="../a/../../outside"),
    ],
    "links to nothing in the archive": [
        tar_member("a", b"", type=tarfile.SYMTYPE, linkname="missing.png"),
    ],
    "is a device or pipe": [
        tar_member("a", b"", type=tarfile.CHRTYPE),
        tar_member("a", b"", type=tarfile.BLKTYPE),
        tar_member("a", b"", type=tarfile.FIFOTYPE),
    ],
    "links to itself": [
        tar_member("a", b"", type=tarfile.SYMTYPE, linkname="a"),
        tar_member("d/a", b"", type=tarfile.SYMTYPE, linkname="../d/a"),
        tar_member("a", b"", type=tarfile.SYMTYPE, linkname="a/b/c"),
        tar_member("a", b"", type=tarfile.LNKTYPE, linkname="a"),
    ],
    "begins in another volume": [tar_member("a", b"", type=b"M")],
    "has a name that is too long": [tar_member("x" * 256), tar_member("y" * 300 + "/1.png")],
    "has a name that no file system takes": [
        tar_member("a/1.png", pax_headers={"path": "a/x\0y.png"}),
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


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_would_fill_memory_is_refused(tmp_path, target, kind):
    """What a header says of the member after it is read at once, before there is a member."""
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, 1_500_000
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(info.tobuf() + bytes(info.size + 512))
    assert (tmp_path / "a.tar.gz").stat().st_size < 10_000
    with pytest.raises(DataError, match=r"a.tar.gz: holds a header of 1.5 MB; refused as a decom"):
        extract(tmp_path / "a.tar.gz", target)


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


def zip_link(name, mode=stat.S_IFLNK):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (mode | 0o777) << 16
    return info


def test_zip_links_inside_are_followed(write_zip, target):
    extract(write_zip(("a/1.png", "one"), (zip_link("b/1.png"), "../a/1.png")), target)
    assert (target / "b" / "1.png").read_text() == "one"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ((zip_link("x"), "/etc/passwd"), "links out of the target folder"),
        ((zip_link("x"), "../y"), "links out of the target folder"),
        ((zip_link("x"), "y"), "links to nothing in the archive"),
        ((zip_link("x"), "x"), "links to itself"),
        ((zip_link("x"), "y" * 5000), "is a link whose target is too long"),
        ((zip_link("x", stat.S_IFIFO), ""), "is a device or pipe"),
    ],
)
def test_zip_links_that_lead_elsewhere_are_refused(write_zip, target, entry, message):
    with pytest.raises(DataError, match=message):
        extract(write_zip(entry), target)


def test_the_last_of_entries_of_one_name_counts(tmp_path, target, write_zip):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = write_zip(("a/1.png", "old"), ("b/2.png", "2"), ("a/1.png", "newer"))
    assert extract(archive, target)[0] == 2
    assert (target / "a/1.png").read_text() == "newer"
    tar = write_tar(
        tmp_path / "a.tar",
        tar_member("t/1.png", b"old"),
        tar_member("t/2.png", b"two"),
        tar_member("t/1.png", b"", type=tarfile.SYMTYPE, linkname="2.png"),
        mode="w",
    )
    assert extract(tar, target)[0] == 2
    assert (target / "t/1.png").read_text() == "two"


def test_a_name_that_is_a_file_and_a_folder_is_refused(tmp_path, target):
    for number, members in enumerate(
        (
            [tar_member("a"), tar_member("a/1.png")],
            [tar_member("a/1.png"), tar_member("a")],
            [tar_member("a/1.png"), link("a", "b.png"), tar_member("b.png")],
        )
    ):
        place = target / str(number)
        place.mkdir()
        with pytest.raises(DataError, match=r"as a folder and as a file|a folder that is a file"):
            extract(write_tar(tmp_path / "a.tar", *members, mode="w"), place)


def link(name, to):
    return tar_member(name, b"", type=tarfile.SYMTYPE, linkname=to)


def test_links_through_links_lead_where_a_file_system_would(tmp_path, target):
    archive = write_tar(
        tmp_path / "a.tar",
        *(link("first", "second"), link("second", "v1"), link("v1/c/3.png", "../../first/a/1.png")),
        *(link("alias", "v1/b"), link("v1/b/up", ".."), link("v1/d", "../alias/up/a")),
        *(tar_member("v1/a/1.png", b"one"), tar_member("v1/b/2.png", b"two")),
        mode="w",
    )
    extract(archive, target)
    assert (target / "v1/c/3.png").read_bytes() == b"one"
    assert (target / "first").resolve() == target / "v1"
    assert (target / "v1/d").resolve() == target / "v1/a"
    assert (target / "alias/2.png").read_bytes() == b"two"
    assert all(path.resolve().is_relative_to(target) for path in target.rglob("*"))


def test_a_link_that_escapes_by_way_of_another_is_refused(tmp_path, target):
    archive = write_tar(
        tmp_path / "a.tar",
        *(tar_member("d/e/1.png"), link("d/e/root", "../.."), link("d/x", "e/root/../outside")),
        mode="w",
    )
    with pytest.raises(DataError, match=r"'d/x' links out of the target folder"):
        extract(archive, target)


def test_a_chain_of_many_links_is_refused(tmp_path, target):
    links = [link(f"l{i}", f"l{i + 1}") for i in range(60)]
    with pytest.raises(DataError, match="links to itself, perhaps through others"):
        extract(write_tar(tmp_path / "a.tar", *links, tar_member("l60"), mode="w"), target)


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
    with pytest.raises(InfrastructureError, match=f"full after .*{os.strerror(errno.ENOSPC)}"):
        extract(archive, target)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a.zip"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 100])
def test_damaged_archives_are_named(tmp_path, target, name, content):
    archive = tmp_path / name
    archive.write_bytes(content)
    with pytest.raises(DataError, match="damaged or not an archive") as caught:
        extract(archive, target)
    assert str(caught.value).startswith(str(archive))


def test_a_list_of_another_ending_learns_which_endings_lists_have(tmp_path, target):
    (tmp_path / "a.txt").write_text("path,label\nx.png,lemon\n")
    with pytest.raises(DataError, match=r"must be a folder, .*, or a list \(.csv, .parquet\)"):
        extract(tmp_path / "a.txt", target)


def test_a_truncated_archive_is_named(tmp_path, target):
    archive = write_tar(tmp_path / "a.tar.gz", tar_member("a/0.png", bytes(range(256)) * 4000))
    archive.write_bytes(archive.read_bytes()[:-400])
    with pytest.raises(DataError, match="damaged or not an archive"):
        extract(archive, target)
