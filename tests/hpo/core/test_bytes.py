"""Sizes as people write them, and what folders take, against `du`."""

import os
import subprocess

import pytest

from hpo.core.bytes import folder_bytes, free_bytes, parse_size, render_bytes
from hpo.core.errors import SpecError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20GB", 20_000_000_000), ("20 gb", 20_000_000_000), ("20G", 20_000_000_000),
        ("1.5GiB", 1_610_612_736), ("500MB", 500_000_000), ("2TiB", 2 << 40), ("1000000", 1_000_000),
        ("", None), ("  ", None),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_size(text, "disk_quota") == size


@pytest.mark.parametrize("text", ["lots", "-3GB", "20 GPU", "GB", "1e9", "3iB", "20GB 3MB"])
def test_what_is_no_size(text):
    with pytest.raises(SpecError, match="^--disk-quota: must be a size such as 500MB, 20GB"):
        parse_size(text, "--disk-quota")


def test_a_size_without_its_unit_is_a_slip():
    with pytest.raises(SpecError, match=r"disk_quota: must be at least 1.0 MB, got '20'"):
        parse_size("20", "disk_quota")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (640_000, "640 kB"),
        (36_000_000, "36.0 MB"), (1_234_567_890, "1.2 GB"), (999_990_000, "1.0 GB"), (3e12, "3.0 TB"),
    ],
)  # fmt: skip
def test_sizes_for_people(size, text):
    assert render_bytes(size) == text


def test_a_folder_takes_what_du_says(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside / "deep", outside):
        folder.mkdir(parents=True)
    (outside / "big").write_bytes(os.urandom(3_000_000))
    (inside / "one").write_bytes(os.urandom(500_000))
    os.link(inside / "one", inside / "deep" / "again")  # a second name takes no room
    (inside / "deep" / "two").write_bytes(os.urandom(70_001))
    (inside / "link").symlink_to(outside)
    (inside / "file").symlink_to(outside / "big")
    said = subprocess.run(["du", "-sB1", inside], capture_output=True, text=True, check=True)
    folders = 2 * inside.stat().st_blocks * 512
    assert abs(folder_bytes(inside) - (int(said.stdout.split()[0]) - folders)) <= 16384
    assert 570_001 <= folder_bytes(inside) < 600_000
    assert folder_bytes(tmp_path / "missing") == 0


def test_what_is_free_is_what_df_says(tmp_path):
    said = subprocess.run(
        ["df", "-B1", "--output=avail", tmp_path], capture_output=True, text=True, check=True
    )
    assert free_bytes(tmp_path) == pytest.approx(int(said.stdout.split()[1]), abs=1e9)
