"""Jobs: one action of a skill run as a command in its own folder, linked by job ids."""

from hpo.jobs.platform import LocalJobs, create_job

__all__ = ["LocalJobs", "create_job"]
