"""Shared by all tests: the trainers that lie among them may be named in studies."""

import os

os.environ.setdefault("HPO_TRAINER_MODULES", "tests")
