"""What belongs to one start of a search."""

from hpo.searching.settings import SearchSettings


def test_a_start_is_told_by_the_flags_of_the_next_one():
    assert SearchSettings(ray_address="h:1").words == ("--ray-address", "h:1")
    assert SearchSettings(executor="inprocess").words == ("--in-process",)
    assert SearchSettings().words == ()


def test_what_a_cluster_reads_lies_with_its_runs(tmp_path):
    assert SearchSettings().kept_below(tmp_path) is None
    assert SearchSettings(ray_address="auto").kept_below(tmp_path / "a/..") == tmp_path / ".data"
