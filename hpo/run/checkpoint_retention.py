"""Decides which checkpoints a search still needs and removes the others (`keep: best`).

A trial's checkpoints may go once it has ended and nobody can come back to them: it is no finalist
and can become none, no repeat of it was trained, no unfinished trial starts from it, and the
algorithm will start none from it. A trial that is no finalist among those that have ended never
becomes one: trials are only added. Training its `spec.yaml` again makes a removed one anew.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from hpo.core.bytes import folder_bytes
from hpo.core.errors import HpoError, SpecError
from hpo.core.protocols import WarmStarter
from hpo.core.selection import best_trial, finalists, ranked, repeats_of
from hpo.core.text import quoted, shell_word
from hpo.core.trial import TrialRecord
from hpo.core.yaml_io import read_yaml
from hpo.run.run_dir import SPEC_FILE, RunDir
from hpo.run.trial_specs import checkpoints_in

BEST, ALL = "best", "all"
KEEP = (BEST, ALL)
MARK = "removed.txt"
"""Stands in the place of removed checkpoints and says why."""
_MARKED = (
    "The checkpoints of this trial were removed after it had ended, as nothing could need them\n"
    "any more (keep: best). To have one again, train spec.yaml in the folder above, with that\n"
    "folder as results_dir; to keep them all, search with `hpo search --keep all`.\n"
)


def check_keep(value: str, where: str) -> str:
    """Return what to keep.

    Raises:
        SpecError: when it is neither `best` nor `all`.
    """
    if value not in KEEP:
        raise SpecError(f"{where}: must be {' or '.join(KEEP)}, got {quoted(value)}")
    return value


def start_points_of(algorithm: object) -> Collection[int]:
    """Trials that an algorithm may start others from; see `hpo.core.protocols.WarmStarter`."""
    return algorithm.start_points() if isinstance(algorithm, WarmStarter) else ()


def needed_trials(
    trials: Sequence[TrialRecord],
    direction: str,
    *,
    confirm: int = 0,
    start_points: Iterable[int] = (),
    compared: Callable[[TrialRecord], bool] = lambda _repeat: False,
    also: Callable[[list[TrialRecord]], Collection[int]] = lambda _trials: (),
    compares_default: bool = True,
) -> set[int]:
    """Numbers of the trials whose checkpoints may be asked for by the rest of the search.

    Args:
        trials: all of the study.
        direction: `maximize` or `minimize`.
        confirm: how many finalists are trained again.
        start_points: what the algorithm may start trials from.
        compared: whether a finalist's repeat has been evaluated, so that its hits are on disk.
        also: what else people are pointed to, among these trials.
        compares_default: whether the winner is compared with the default configuration at the end;
            else that is kept as a finalist alone, where some are trained again.

    Returns:
        Every trial that has not ended and what it starts from, the finalists and the winner as of
        now and as of the ended trials alone, trial 0 where it is compared, trials with repeats,
        what was named, and the parents of all these.
    """
    open_trials = [t for t in trials if not t.state.is_finished]
    kept = {*start_points, *(t.number for t in open_trials)}
    kept |= {t.start_from[0] for t in open_trials if t.start_from is not None}
    # A running trial may still fail, and then those behind it move up.
    for some in (list(trials), [t for t in trials if t.state.is_finished]):
        chosen = finalists(some, direction, max(1, confirm))
        kept |= {t.number for t in (chosen if confirm or compares_default else chosen[:1])}
        if compares_default:
            # In the shape of its best twin, known or not while it has no epoch.
            twins = [t for t in some if not t.is_repeat and t.is_twin_of(trials[0])]
            kept |= {0, *(t.number for t in ranked(twins, direction)[:1])}
        winner = best_trial(some, direction)
        kept |= set() if winner is None else {winner.number}
        kept |= set(also(some))
    again = [t for t in trials if t.is_repeat]
    kept |= {t.number for t in trials if not t.is_repeat and repeats_of(t, again)}
    kept |= {t.number for t in again if not compared(t)}
    parents = {t.stage.parent for t in trials if t.number in kept}
    return kept | {number for number in parents if number is not None}


def remove_checkpoints(run: RunDir, number: int) -> int | None:
    """Remove a trial's checkpoints and leave a note in their place.

    May be called again after it was interrupted anywhere. A folder that is a link, or lies behind
    one, is somebody else's and stays as it is; a link inside is removed, never what it points to.

    Returns:
        The bytes that were freed; None when there was nothing to remove.

    Raises:
        OSError: when the disk refuses it.
    """
    folder = run.checkpoints_dir(number)
    if not folder.is_dir() or folder.resolve() != folder:
        return None
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name != MARK]
    if not found and (folder / MARK).is_file():
        return None
    freed = folder_bytes(folder)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink(missing_ok=True)
    (folder / MARK).write_text(_MARKED, encoding="utf-8")
    return freed


def was_removed(run: RunDir, number: int) -> bool:
    """Whether a trial's checkpoints are gone because nothing needed them."""
    return (run.checkpoints_dir(number) / MARK).is_file()


def _threads_of(run: RunDir, number: int) -> int | None:
    """Threads that a trial was trained with, as far as its results depend on them."""
    from hpo.run.ledger import Ledger

    with contextlib.suppress(HpoError, OSError, LookupError):
        trials, _ = Ledger.read_trials(run.ledger_file)
        threads = (trials[number].receipt or {}).get("threads")
        return threads if isinstance(threads, int) else None
    return None


def describe_removed(run: RunDir, number: int) -> str:
    """Say of a trial that its checkpoints are gone, and what to do."""
    folder = run.trial_dir(number)
    file = folder / SPEC_FILE
    words = [f"results_dir={folder}"]
    with contextlib.suppress(SpecError):  # the command that trains it reports a damaged file
        spec = read_yaml(file)
        named = checkpoints_in(spec, run) if isinstance(spec, dict) else {}
        for name, (kept, here) in named.items():
            if Path(here).is_file() and not Path(kept).exists():  # the run was moved
                words.append(f"{name}={here}")
    command = f"ml_recog train -e {' '.join(map(shell_word, [file, *words]))}"
    if threads := _threads_of(run, number):
        command = f"OMP_NUM_THREADS={threads} {command}"
    return (
        f"trial {number}: its checkpoints were removed once nothing in the search could need them "
        f"(`keep: best`); train it again in its folder to have them (`{command}`, or its "
        "trainer's own command), and search with --keep all to keep all"
    )
