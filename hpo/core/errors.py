"""Exceptions of the harness; those for the user carry one line and exit code 2."""

from __future__ import annotations


class HpoError(Exception):
    """Something the user can mend: shown as one line, exit code 2."""


class SpecError(HpoError):
    """A spec, study file or override is wrong; the message starts with the dotted path."""


class DataError(HpoError):
    """Images, folders or archives cannot be used as asked."""


class RunError(HpoError):
    """A run directory is missing, locked, damaged or in the wrong state."""


class NoRunError(RunError):
    """No run fits the name that was given, or there is none at all."""


class MachineError(HpoError):
    """The machine refuses something: a disk, a folder, a limit; see `hpo.core.machine_faults`."""
