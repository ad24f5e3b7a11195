"""Errors of the AutoML route; each also derives from the built-in type that API callers expect."""

from __future__ import annotations

from hpo.core.errors import RunError, SpecError


class AutoMLError(SpecError, ValueError):
    """Settings, overrides, ranges or the policy are wrong."""


class SkillFolderError(SpecError, FileNotFoundError):
    """The folder that was named is not a skill folder."""


class NotRunnableError(SpecError, FileNotFoundError):
    """The network says that AutoML is enabled, but what AutoML needs is missing."""


class ReviewDeclinedError(RunError):
    """The review was not confirmed, or the search would take longer than was allowed."""


class UnknownActionError(AutoMLError, KeyError):
    """The skill has no such action."""

    __str__ = Exception.__str__  # a KeyError shows its message in quotes


class MetricExtractorError(RuntimeError):
    """The published package raises it when three trials in a row have no metric.

    It can be imported; a search of this project ends with the cause in its result instead.
    """
