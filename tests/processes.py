"""Who lives on this machine, as /proc tells it."""

from pathlib import Path


def living():
    """pid -> (parent, command line in bytes) of every process that has not ended."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if stat[0] != "Z":
                found[int(folder.name)] = (int(stat[1]), command)
    return found


def ranks_below(ancestor):
    """pid -> parent of the ranks of runs on several devices that a process has started."""
    known = living()

    def is_below(pid):
        while pid in known and pid != ancestor:
            pid = known[pid][0]
        return pid == ancestor

    return {
        pid: parent
        for pid, (parent, command) in known.items()
        if b"trainer.rank_process" in command and is_below(pid)
    }
