"""Jobs: one action of a skill run as a command, in a folder of its own, joined by job ids."""

from hpo.jobs.platform import LocalJobs, create_job

__all__ = ["LocalJobs", "create_job"]
