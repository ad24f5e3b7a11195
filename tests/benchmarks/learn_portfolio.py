"""Learn from recordings which few configurations are worth trying first, and on what that holds.

    python tests/benchmarks/learn_portfolio.py studies/recorded/portfolio_*.json.gz
    python tests/benchmarks/learn_portfolio.py ... --write trainer/portfolio.json

A portfolio begins with the default; then comes, one after the other, the configuration that adds
most to the best so far, on average over the data sets (greedy, as the gain is sub-modular: Feurer
et al. 2022, Wistuba et al. 2015). Values count as shares of the best that was recorded on their
data set. How good it is on other data is told by leaving out, in turn, each data set and each
family of them. Beside it stand what a search without it does: the designed start of the algorithms
that learn a model, as recorded for several seeds, and uniform draws.

Letters: D data sets, N configurations, K trials.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GOOD = 0.98
"""Share of the best recorded value that is wanted."""
LONGEST = 8
"""Trials of a portfolio, its default included."""
WITHIN = 0.002
"""A portfolio ends where the data sets that were left out gain no more than this from the rest."""
DRAWS = 200
"""Orders of uniform draws that are averaged."""
SEED = 1
ABOUT = "written by tests/benchmarks/learn_portfolio.py; see docs/adr/0017-learned-portfolio.md"


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Values of the same configurations on several data sets."""

    kind: str
    names: tuple[str, ...]
    """Of the D data sets."""
    families: tuple[str, ...]
    configs: tuple[Mapping[str, Any], ...]
    """N times `source` and `params`; the first is the default."""
    shares: Floats
    """D x N: best value of each training as share of the best on its data set; 0 where it diverged."""
    bests: Floats
    """The best value on each."""

    def take(self, kept: Sequence[int]) -> Matrix:
        """The same of some of the configurations."""
        best_D = (self.shares[:, kept] * self.bests[:, None]).max(axis=1)
        share_DN = self.shares[:, kept] * (self.bests / best_D)[:, None]
        configs = tuple(self.configs[n] for n in kept)
        return Matrix(
            kind=self.kind, names=self.names, families=self.families, configs=configs,
            shares=share_DN, bests=best_D,
        )  # fmt: skip


def read_matrix(path: Path) -> Matrix:
    """Read what `record_portfolio.py` packed; configurations that not all data sets have go."""
    return matrix_of(json.loads(gzip.decompress(path.read_bytes())))


def matrix_of(data: Mapping[str, Any]) -> Matrix:
    """Arrange runs of one seed as a matrix."""
    names = tuple(data["data"])
    found = {
        (run["data"], run["index"]): max(run["value"], default=0.0)
        for run in data["runs"]
        if run["seed"] == SEED
    }
    kept = [n for n in range(len(data["configs"])) if all((name, n) in found for name in names)]
    value_DN = np.array([[found[name, n] for n in kept] for name in names])
    best_D = value_DN.max(axis=1)
    return Matrix(
        kind=data["kind"],
        names=names,
        families=tuple(data["data"][name]["family"] for name in names),
        configs=tuple(data["configs"][n] for n in kept),
        shares=value_DN / best_D[:, None],
        bests=best_D,
    )


def choose(share_DN: Floats, most: int, *, least_gain: float = 0.0) -> list[int]:
    """Choose configurations greedily, the default (number 0) first.

    Args:
        share_DN: what each is worth on each data set.
        most: so many at most.
        least_gain: end where the next one adds less to the mean over data sets.
    """
    chosen, best_D = [0], share_DN[:, 0]
    while len(chosen) < most:
        mean_N = np.maximum(share_DN, best_D[:, None]).mean(axis=0)
        number = int(mean_N.argmax())
        if mean_N[number] - best_D.mean() <= least_gain:
            break
        chosen.append(number)
        best_D = np.maximum(best_D, share_DN[:, number])
    return chosen


def reached(share_N: Floats, order: Sequence[int], trials: int) -> list[float]:
    """The best share after each of so many trials; a portfolio that has ended adds nothing."""
    best = list(np.maximum.accumulate(share_N[list(order)]))
    return (best + [best[-1]] * trials)[:trials]


def trials_to(curve: Sequence[float], goal: float = GOOD) -> float:
    """Trials until a share is reached; infinite where it is not."""
    return next((k for k, share in enumerate(curve, start=1) if share >= goal), float("inf"))


def without_portfolio(matrix: Matrix, source: str) -> list[list[int]]:
    """Orders in which a search without a portfolio would try recorded configurations."""
    own = [n for n, config in enumerate(matrix.configs) if config["source"].startswith(source)]
    if source == "design":
        key = lambda n: matrix.configs[n]["source"]  # noqa: E731 - one seed after the other
        return [[0, *numbers] for _, numbers in itertools.groupby(own, key)]
    rng = random.Random(SEED)
    return [[0, *rng.sample(own, min(LONGEST, len(own)))] for _ in range(DRAWS)]


def left_out(matrix: Matrix, groups: Sequence[str]) -> list[list[float]]:
    """What a portfolio learned on the other groups reaches on each data set, after each trial."""
    curves = []
    for d, group in enumerate(groups):
        others = [i for i, other in enumerate(groups) if other != group]
        order = choose(matrix.shares[others], LONGEST)
        curves.append(reached(matrix.shares[d], order, LONGEST))
    return curves


def compare(matrix: Matrix) -> dict[str, list[list[float]]]:
    """Curves of the best share over trials, one per data set (and order) for each way to begin."""
    found = {"portfolio": left_out(matrix, matrix.names)}
    if len(set(matrix.families)) > 1:
        found["portfolio of the other family"] = left_out(matrix, matrix.families)
    for label, source in (("designed start", "design"), ("uniform draws", "compiled")):
        orders = without_portfolio(matrix, source)
        found[label] = [reached(row, order, LONGEST) for row in matrix.shares for order in orders]
    return {label: curves for label, curves in found.items() if curves}


def main(argv: Sequence[str] | None = None) -> None:
    """Print how portfolios do on data they have not seen; write those that are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--write", type=Path, help="where the portfolios that help are kept")
    args = parser.parse_args(argv)
    portfolios = {}
    for path in args.recordings:
        matrix = read_matrix(path)
        print(f"{matrix.kind}: {len(matrix.names)} data sets, {len(matrix.configs)} configurations")
        found = compare(matrix)
        for label, curves in found.items():
            print(render(label, curves))
        length = length_of(found["portfolio"])
        if helps(found["portfolio"], found["designed start"]):
            portfolios[matrix.kind] = to_keep(matrix, length, path.name)
            print(f"kept: the default and {length - 1} more")
        else:
            print("not kept: no better than the designed start on data sets that were left out")
    if args.write:
        args.write.write_text(json.dumps({"about": ABOUT, "portfolios": portfolios}, indent=1))


def length_of(curves: Sequence[Sequence[float]]) -> int:
    """Trials, the default included, after which more of them add nearly nothing."""
    means = [statistics.mean(shares) for shares in zip(*curves, strict=True)]
    return next(k for k, mean in enumerate(means, start=1) if means[-1] - mean <= WITHIN)


def helps(portfolio: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> bool:
    """Whether a portfolio is ahead of another start at every number of trials up to four."""
    return all(
        statistics.mean(curve[k] for curve in portfolio)
        > statistics.mean(curve[k] for curve in other)
        for k in range(1, 4)
    )


def to_keep(matrix: Matrix, length: int, recording: str) -> dict[str, Any]:
    """The portfolio of all data sets, as `trainer.portfolio` reads it."""
    chosen = choose(matrix.shares, length)[1:]
    return {
        "recording": recording,
        "data": list(matrix.names),
        "configurations": [_rounded(matrix.configs[n]["params"]) for n in chosen],
    }


def _rounded(params: Mapping[str, Any]) -> dict[str, Any]:
    """Three digits, which is more than was learned."""
    return {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in params.items()}


def render(label: str, curves: Iterable[Sequence[float]]) -> str:
    """A row of a table: median trials to 98 %, share of data sets, mean share after each trial."""
    curves = list(curves)
    trials = [trials_to(curve) for curve in curves]
    within = sum(t <= 4 for t in trials) / len(trials)
    means = " ".join(f"{statistics.mean(c[k] for c in curves):.3f}" for k in range(LONGEST))
    return f"{label:30} {statistics.median(trials):5.1f} {within:5.0%}  {means}"


if __name__ == "__main__":
    main()
