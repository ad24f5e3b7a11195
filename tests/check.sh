#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lint, types, import contracts, tests.
# `--fast` leaves out slow tests (tests/slow_tests.txt) and the site, for use at every save.
# Other arguments go to pytest. PYTHON names the interpreter of an environment with the extras `all`
# and `dev` (default: .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
bin=$(dirname "$python")

"$bin/ruff" format --check hpo trainer search_spaces tests
"$bin/ruff" check hpo trainer search_spaces tests docs
"$bin/mypy" &
types=$!
"$bin/lint-imports"
"$python" -m trainer.config.generate --check
"$python" -m hpo.cli.reference_pages --check
if [[ " $* " != *" --fast "* ]] && "$python" -c 'import mkdocs' 2>/dev/null; then
  # The extra `docs`: every link of the site leads somewhere.
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  NO_MKDOCS_2_WARNING=1 "$bin/mkdocs" build --strict --quiet -d "$site"
fi
wait "$types"
# A third process pays where tests wait, which fast ones do not; to start it takes ten seconds of a core.
[[ " $* " == *" --fast "* ]] && jobs=2 || jobs=3
"$python" -m pytest -n "${TEST_JOBS:-$jobs}" --dist worksteal "$@"
