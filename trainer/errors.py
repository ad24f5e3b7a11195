"""Exceptions of the trainer, each with the cause that a trial table shows."""

from __future__ import annotations

from typing import ClassVar


class TrainerError(Exception):
    """Something the user can mend: one line, exit code 2.

    Attributes:
        kind: the cause in the words of a failed trial, read without importing this class: `spec`,
            `data`, `image`, `credential`, `out_of_memory`, `diverged`, `infrastructure` or `code`.
    """

    kind: ClassVar[str] = "code"


def first_line(error: BaseException) -> str:
    """What an error says in its first line; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class SpecError(TrainerError):
    """A spec value or override is wrong; the message starts with the dotted path."""

    kind: ClassVar[str] = "spec"


class CheckpointError(TrainerError):
    """A weights file is missing, damaged, unsafe to load, or does not fit the model of the spec."""

    kind: ClassVar[str] = "spec"


class DataError(TrainerError):
    """Folders, archives or classes cannot be used as asked."""

    kind: ClassVar[str] = "data"


class ImageError(TrainerError):
    """One picture cannot be read; the message starts with its path."""

    kind: ClassVar[str] = "image"


class CredentialError(TrainerError):
    """A store or service refuses the credentials at hand, or there are none."""

    kind: ClassVar[str] = "credential"


class DivergedError(TrainerError):
    """The loss or an embedding stopped being a finite number."""

    kind: ClassVar[str] = "diverged"


class DeviceMemoryError(TrainerError):
    """The device has too little memory for the batch, image size or model of the spec."""

    kind: ClassVar[str] = "out_of_memory"


class InfrastructureError(TrainerError):
    """Device, disk or network failed; the same spec may well succeed elsewhere."""

    kind: ClassVar[str] = "infrastructure"
