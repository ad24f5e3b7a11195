"""Learn from recordings which few configurations are worth trying first, and on what that holds.

    python tests/benchmarks/learn_portfolio.py studies/recorded/portfolio_*.json.gz
    python tests/benchmarks/learn_portfolio.py ... --write trainer/portfolio.json

A portfolio begins with the default; then comes, one after the other, the configuration that adds
most to the best so far, on average over the data sets (greedy, as the gain is sub-modular: Feurer
et al. 2022, Wistuba et al. 2015). Values are shares of the best on their data set. A hundred or two
queries leave each value with noise, and the best of seventy would be the luckiest: so all values are
those of a Gaussian process over the configurations, fitted on one data set alone.

How good a portfolio is on other data is told by leaving out, in turn, each data set and each family
of them. Beside it stand what a search without it does: the designed start of the algorithms that
learn a model, as recorded for several seeds, and uniform draws.

Letters: D data sets, N configurations, P coordinates of one.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import math
import random
import statistics
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    search: Mapping[str, Any]
    """`ranges` of the study that was recorded."""
    configs: tuple[Mapping[str, Any], ...]
    """N times `source` and `params`; the first is the default."""
    shares: Floats
    """D x N: best value of each training as share of the best on its data set; 0 where it diverged."""
    bests: Floats
    """The best value on each."""


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
        search=data["search"],
        names=names,
        families=tuple(data["data"][name]["family"] for name in names),
        configs=tuple(data["configs"][n] for n in kept),
        shares=value_DN / best_D[:, None],
        bests=best_D,
    )


def smoothed(matrix: Matrix) -> Matrix:
    """Put a Gaussian process's mean in place of each value, the noise of one training aside."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    points_NP = coordinates(matrix)
    lengths = [1.0] * points_NP.shape[1]
    rows = []
    for values_N in matrix.shares * matrix.bests[:, None]:
        kernel = 1.0 * Matern(lengths, (0.2, 20.0), nu=2.5) + WhiteKernel(0.1, (1e-3, 1.0))
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=SEED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lengths at their bounds: parameters that do nothing
            rows.append(process.fit(points_NP, values_N).predict(points_NP))
    value_DN = np.array(rows)
    best_D = value_DN.max(axis=1)
    return replace(matrix, shares=value_DN / best_D[:, None], bests=best_D)


def coordinates(matrix: Matrix) -> Floats:
    """Configurations as points, N x P: numbers as parts of their range, a column for each option.

    A parameter that does nothing beside the others stands in the middle of its range.
    """
    params = [config["params"] for config in matrix.configs]
    ranges, columns = matrix.search["ranges"], []
    for name in sorted({name for own in params for name in own}):
        found = [own.get(name) for own in params]
        if any(isinstance(value, str) for value in found):
            columns += [[float(v == option) for v in found] for option in sorted(set(found))]
            continue
        low, high, log = (ranges[name][key] for key in ("low", "high", "log"))
        scale = (lambda v: v) if not log else math.log
        span = scale(high) - scale(low)
        columns.append([0.5 if v is None else (scale(v) - scale(low)) / span for v in found])
    return np.array(columns).T


def choose(share_DN: Floats, most: int) -> list[int]:
    """Choose configurations greedily, the default (number 0) first.

    Once all data sets have their best the choice begins anew among the others, so that a second one
    stands behind each. It ends where none of the others is better than the default anywhere.

    Args:
        share_DN: what each is worth on each data set.
        most: so many at most.
    """
    chosen, best_D = [0], share_DN[:, 0]
    while len(chosen) < most:
        gain_N = np.maximum(share_DN - best_D[:, None], 0.0).mean(axis=0)
        gain_N[chosen] = 0.0
        number = int(gain_N.argmax())
        if gain_N[number] > 0.0:
            chosen.append(number)
            best_D = np.maximum(best_D, share_DN[:, number])
        elif (best_D == share_DN[:, 0]).all():
            break
        else:
            best_D = share_DN[:, 0]
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
    if source == "portfolio":
        return [[0, *own]] if own else []
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
    found = {}
    if len(matrix.names) > 1:
        found["portfolio"] = left_out(matrix, matrix.names)
    if len(set(matrix.families)) > 1:
        found["portfolio of the other family"] = left_out(matrix, matrix.families)
    ways = (("portfolio as kept", "portfolio"), ("designed start", "design"))
    for label, source in (*ways, ("uniform draws", "compiled")):
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
        matrix = smoothed(read_matrix(path))
        print(f"{matrix.kind}: {len(matrix.names)} data sets, {len(matrix.configs)} configurations")
        found = compare(matrix)
        for label, curves in found.items():
            print(render(label, curves))
        if "portfolio" not in found:
            continue
        length = length_of(found["portfolio"])
        if helps(found["portfolio"], found["designed start"]):
            portfolios[matrix.kind] = to_keep(matrix, length, path.name)
            print(f"kept: the default and {length - 1} more")
        else:
            print("not kept: no better than the designed start on data sets that were left out")
    if args.write:
        text = json.dumps({"about": ABOUT, "portfolios": portfolios}, indent=1)
        args.write.write_text(text + "\n")


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
