"""`python -m hpo`: the command `hpo`."""

import sys

from hpo.core.process import start

if __name__ == "__main__":
    sys.argv[0] = "hpo"  # what messages and help call it
    sys.exit(start.hpo())
