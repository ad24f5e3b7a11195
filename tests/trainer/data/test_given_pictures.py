"""What is labelled of the files, folders and archives that somebody names."""

import zipfile

import pytest
from PIL import Image

from trainer.data.given_pictures import find_pictures
from trainer.data.origin import origin


@pytest.fixture
def shelf(tmp_path):
    root = tmp_path / "shelf"
    for name in ("b.png", "a.JPG", "deep/er/c.webp"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    for name in ("notes.txt", "deep/film.mp4", "deep/more.mp4", ".hidden.png", "Thumbs.db"):
        (root / name).write_bytes(b"x")
    return root


def names(found, root):
    return [path.relative_to(root).as_posix() for path in found["pictures"]]


def test_a_folder_is_walked_and_what_is_skipped_is_counted(shelf):
    found = find_pictures([str(shelf)])
    assert names(found, shelf) == ["a.JPG", "b.png", "deep/er/c.webp"]
    assert found["errors"] == []
    told = " ".join(found["notes"])
    assert "2 .mp4 files" in told
    assert "1 .txt file" in told
    assert all(note.startswith(f"{shelf}: ") for note in found["notes"])


def test_the_order_is_the_one_given_and_each_file_counts_once(shelf):
    b = shelf / "b.png"
    found = find_pictures([str(b), str(shelf), f"{shelf}/deep/../b.png", str(b)])
    assert names(found, shelf)[:3] == ["b.png", "a.JPG", "deep/er/c.webp"]
    assert "2 named more than once and labelled once" in found["notes"]


def test_a_file_is_a_picture_whatever_its_ending(shelf):
    assert find_pictures([str(shelf / "notes.txt")])["pictures"] == [shelf / "notes.txt"]


def test_sources_without_pictures_are_errors_and_the_others_go_on(shelf, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    sources = ["gone.png", "empty", "texts", "bad.zip"]
    found = find_pictures([str(shelf / "b.png"), *(str(tmp_path / name) for name in sources)])
    assert names(found, shelf) == ["b.png"]
    errors = {row["image"].rpartition("/")[2]: row["error"] for row in found["errors"]}
    assert list(errors) == sources
    assert errors["gone.png"] == "no such picture or folder"
    assert errors["empty"] == errors["texts"] == "holds no picture"
    assert "not an archive" in errors["bad.zip"]
    assert str(tmp_path) not in errors["bad.zip"]


def test_an_archive_is_looked_into(shelf, tmp_path):
    with zipfile.ZipFile(tmp_path / "shelf.zip", "w") as packed:
        packed.write(shelf / "b.png", "in/side/b.png")
    found = find_pictures([str(tmp_path / "shelf.zip")])
    assert [origin(path) for path in found["pictures"]] == [f"{tmp_path}/shelf.zip/in/side/b.png"]


def test_links_in_a_loop_end(shelf):
    (shelf / "deep" / "up").symlink_to(shelf)
    assert names(find_pictures([str(shelf)]), shelf) == ["a.JPG", "b.png", "deep/er/c.webp"]


@pytest.mark.parametrize("pattern", ["**/*.jpg", "**/**/*.jpg", "*/**/*.jpg", "**"])
def test_a_pattern_goes_where_a_folder_is_walked(tmp_path, pattern):
    """Into links, each folder once, and into nothing that is hidden."""
    for name in ("shelf/a/1.jpg", "shelf/a/.thumbnails/1.jpg", "shelf/.git/2.jpg", "else/b/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "shelf/linked").symlink_to(tmp_path / "else")
    (tmp_path / "shelf/a/up").symlink_to(tmp_path / "shelf")
    (tmp_path / "shelf/a/again").symlink_to(tmp_path / "shelf")
    found = find_pictures([f"{tmp_path}/shelf/{pattern}"])
    assert names(found, tmp_path) == ["shelf/a/1.jpg", "shelf/linked/b/3.jpg"]
    assert found["pictures"] == find_pictures([f"{tmp_path}/shelf"])["pictures"]
    assert found["notes"] == []
    (named,) = find_pictures([f"{tmp_path}/shelf/.git/*.jpg"])["pictures"]
    assert named == tmp_path / "shelf/.git/2.jpg"


def test_patterns_and_lists_name_pictures(shelf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert names(find_pictures([str(shelf / "**" / "*.[jw]*")]), shelf) == ["deep/er/c.webp"]
    assert [str(p) for p in find_pictures(["shelf/*.png"])["pictures"]] == ["shelf/b.png"]
    address = f"file://{shelf}"
    assert names(find_pictures([f"{address}/*.png"]), shelf) == ["b.png"]
    (gone,) = find_pictures([f"{address}/gone.png"])["errors"]
    assert gone["error"] == "no such picture or folder"
    (shelf / "more.txt").write_text("deep/er/c.webp\n\n  b.png \ngone.png\n")
    found = find_pictures([f"@{shelf}/more.txt"])
    assert names(found, shelf) == ["deep/er/c.webp", "b.png", "gone.png"]
    (tmp_path / "table.csv").write_text("\ufefflabel,image\nx,shelf/a.JPG\ny,\n")
    assert [str(p) for p in find_pictures(["@table.csv"])["pictures"]] == ["shelf/a.JPG"]
    (tmp_path / "other.csv").write_text("label,file\nx,y\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    found = find_pictures(["@other.csv", "@bytes.txt", "@none.txt", "nothing/*.png"])
    assert [row["error"].split(":")[0] for row in found["errors"]] == [
        "other.csv", "bytes.txt", "none.txt", "holds no picture",
    ]  # fmt: skip
    assert found["errors"][0]["error"] == (
        "other.csv: must have a column path or image, got label, file"
    )


def test_odd_words_are_rows_with_their_reason_and_end_nothing(shelf, tmp_path, monkeypatch):
    """Office leaves `~$name` beside open files; no file system takes a name of 300 bytes."""
    monkeypatch.chdir(tmp_path)
    long = f"{'x' * 300}.jpg"
    (tmp_path / "~$list.txt").write_text("~$photo.jpg\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "~$photo.jpg")
    odd = ["shelf/**.png", "~$gone.jpg", long, f"{'x' * 300}/*.png", f"@{long}"]
    found = find_pictures([*odd, "~$photo.jpg", "@~$list.txt", f"file://{shelf}/b.png"])
    assert [str(path) for path in found["pictures"]] == ["~$photo.jpg", f"{shelf}/b.png"]
    assert {row["image"]: row["error"] for row in found["errors"]} == {
        "shelf/**.png": "** must stand alone between slashes, as in shelf/**/*.jpg",
        "~$gone.jpg": "no such picture or folder",
        **dict.fromkeys(
            (long, f"{'x' * 300}/*.png", f"@{long}"), "cannot be read (File name too long)"
        ),
    }


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("l.csv", "Path;Label\r\n b.png ;x\r\n\r\ndeep/er/c.webp;y\r\n", "utf-8"),
        ("l.CSV", "label\t IMAGE\nx\tb.png\ny\tdeep/er/c.webp\n", "utf-16"),
        ("l.txt", "b.png\r\n\r\ndeep/er/c.webp", "utf-16"),
        ("l.csv", "path\nb.png\ncaf\udce9.png\n", "utf-8"),
    ],
)
def test_lists_are_read_as_spreadsheets_write_them(shelf, name, text, encoding):
    """As lists to train on are; the last one names a file in Latin-1."""
    (shelf / name).write_bytes(text.encode(encoding, "surrogateescape"))
    last = "deep/er/c.webp" if "deep" in text else "caf\udce9.png"
    assert find_pictures([f"@{shelf}/{name}"]) == {
        "pictures": [shelf / "b.png", shelf / last], "errors": [], "notes": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found", "said"),
    [
        ("path,note\nb.png\ndeep/er/c.webp,x\n", ["b.png", "deep/er/c.webp"], None),
        ("image;note\ndeep/er/c.webp;5;6\nb.png;x\n", ["deep/er/c.webp", "b.png"], None),
        ("note,path\nx\ny,b.png\n", ["b.png"], None),
        ("note,path,note\nx,b.png,y\n", ["b.png"], None),
        ("path,path\nx,b.png\n", ["b.png"], None),
        ('path,note\nb.png,"x\nc.png,y\n', [], "row 2: a quote must be closed"),
    ],
)
def test_what_stands_beside_the_paths_costs_no_picture(shelf, text, found, said):
    (shelf / "l.csv").write_text(text)
    listed = find_pictures([f"@{shelf}/l.csv"])
    assert names(listed, shelf) == found
    assert [said in row["error"] for row in listed["errors"]] == [True] * (said is not None)


def test_a_list_may_be_parquet(shelf):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"Image": ["b.png", None]}), shelf / "l.parquet")
    assert names(find_pictures([f"@{shelf}/l.parquet"]), shelf) == ["b.png"]
