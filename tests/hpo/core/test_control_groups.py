"""Limits of control groups, read from trees of files as Linux shows them, against sums by hand."""

import pytest

from hpo.core import control_groups
from hpo.core.control_groups import count_oom_kills, cpu_quota, free_memory
from hpo.core.machine import count_cpus
from trainer import cores

MIB = 1 << 20
OLD = (
    "4:memory:/docker/ab\n3:cpuset:/docker/ab\n2:cpu,cpuacct:/docker/ab\n1:name=systemd:/x\n0::/x\n"
)
QUOTAS = [
    ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
    ("0::/\n", {"cpu.max": "max 100000"}, None),
    ("", {"cpu.max": "300000 100000"}, 3.0),
    # A slice of systemd, or a job of Slurm: the limit stands in the group itself or above it.
    ("0::/a/b\n", {"a/b/cpu.max": "200000 50000", "a/cpu.max": "max 100000"}, 4.0),
    ("0::/a/b\n", {"a/b/cpu.max": "200000 50000", "a/cpu.max": "100000 100000"}, 1.0),
    ("0::/a/b\n", {"b/cpu.max": "100000 100000"}, None),
    ("0::/../x\n", {"cpu.max": "200000 100000", "x/cpu.max": "100000 100000"}, 2.0),
    # The first version, where a container sees its own group at the root, and where it does not.
    (OLD, {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
    (OLD, {"cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "250000",
           "cpu,cpuacct/docker/ab/cpu.cfs_period_us": "50000"}, 5.0),
    (OLD, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    (OLD, {}, None),
]  # fmt: skip


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Write what `/proc/self/cgroup` says, and files below the root of the control groups."""

    def write(groups, files):
        for module in (control_groups, cores):
            monkeypatch.setattr(module, "ROOT", tmp_path)
            monkeypatch.setattr(module, "GROUPS", tmp_path / "groups")
        (tmp_path / "groups").write_text(groups)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text + "\n")

    return write


@pytest.mark.parametrize(("groups", "files", "quota"), QUOTAS)
def test_the_least_quota_of_the_group_and_those_above_counts(
    tree, monkeypatch, groups, files, quota
):
    tree(groups, files)
    assert cpu_quota() == quota
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))
    whole = {None: 64, 1.5: 2}.get(quota, quota)
    assert count_cpus() == cores.usable_cores() == whole
    assert cores.quota_cores() == (None if quota is None else whole)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {5})
    assert count_cpus() == cores.usable_cores() == 1
    assert cores.quota_cores() is None


@pytest.mark.parametrize(
    ("groups", "files", "free"),
    [
        ("0::/\n", {"memory.max": "max", "memory.current": "7"}, None),
        ("0::/\n", {"memory.max": f"{3000 * MIB}", "memory.current": f"{1000 * MIB}",
                    "memory.stat": f"anon 5\ninactive_file {100 * MIB}"}, 2100),
        ("0::/a/b\n", {"a/memory.max": f"{1200 * MIB}", "a/memory.current": f"{1000 * MIB}",
                       "memory.max": f"{9000 * MIB}", "memory.current": "0"}, 200),
        ("0::/a/b\n", {"a/b/memory.max": f"{500 * MIB}", "a/b/memory.current": f"{600 * MIB}"}, 0),
        (OLD, {"memory/memory.limit_in_bytes": f"{3000 * MIB}",
               "memory/memory.usage_in_bytes": f"{1000 * MIB}",
               "memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {50 * MIB}"}, 2050),
        (OLD, {"memory/docker/ab/memory.limit_in_bytes": f"{10 * MIB}",
               "memory/docker/ab/memory.usage_in_bytes": f"{4 * MIB}"}, 6),
        (OLD, {}, None),
    ],
)  # fmt: skip
def test_the_least_room_of_the_group_and_those_above_counts(tree, groups, files, free):
    tree(groups, files)
    assert free_memory() == (None if free is None else free * MIB)


@pytest.mark.parametrize(
    ("groups", "files", "kills"),
    [
        ("0::/a\n", {"a/memory.events": "oom 9\noom_kill 3", "memory.events": "oom_kill 7"}, 3),
        ("0::/a\n", {"memory.events": "low 0\noom_kill 7"}, 7),
        (OLD, {"memory/docker/ab/memory.oom_control": "oom_kill_disable 1\noom_kill 2"}, 2),
        (OLD, {"memory/memory.oom_control": "under_oom 0\noom_kill 5"}, 5),
        (OLD, {}, 0),
    ],
)
def test_processes_that_were_killed_for_memory_are_counted_where_they_belong(
    tree, groups, files, kills
):
    tree(groups, files)
    assert count_oom_kills() == kills
