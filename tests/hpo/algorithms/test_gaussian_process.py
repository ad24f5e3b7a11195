"""The process against scikit-learn's with the same kernel, and its search on a made-up surface."""

import numpy as np
import pytest

from hpo.algorithms.gaussian_process import LENGTHS, GaussianProcess, fit, with_expected

RNG = np.random.default_rng(4)
X_NF = RNG.random((25, 3))
Y_N = np.sin(4 * X_NF[:, 0]) + X_NF[:, 1] ** 2 + 0.05 * RNG.normal(size=25)
Y_N = (Y_N - Y_N.mean()) / Y_N.std()
AT_MF = RNG.random((40, 3))


@pytest.mark.parametrize(("lengths", "noise"), [((0.2, 0.4, 3.2), 1e-2), ((1.6, 0.8, 0.8), 1e-4)])
def test_it_is_the_process_of_scikit_learn(lengths, noise):
    # Imported here: all of its packages take a second of every process that collects this file.
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern

    ours = GaussianProcess(X_NF, Y_N, np.array(lengths), noise)
    theirs = GaussianProcessRegressor(Matern(lengths, nu=2.5), alpha=noise + 1e-9, optimizer=None)
    theirs.fit(X_NF, Y_N)
    mean_M, deviation_M = theirs.predict(AT_MF, return_std=True)
    np.testing.assert_allclose(ours.predict(AT_MF)[0], mean_M, atol=1e-6)
    np.testing.assert_allclose(ours.predict(AT_MF)[1], deviation_M, atol=1e-6)
    constant = 0.5 * len(Y_N) * np.log(2 * np.pi)  # left out here, as it changes no comparison
    assert ours.log_likelihood - constant == pytest.approx(theirs.log_marginal_likelihood_value_)


def test_a_feature_that_does_nothing_gets_the_longest_length():
    found = fit(X_NF, Y_N)
    assert found.lengths_F[2] == LENGTHS[-1]
    assert found.lengths_F[0] < 1.0
    assert np.array_equal(found.lengths_F, fit(X_NF.copy(), Y_N.copy()).lengths_F)


def test_running_points_count_as_if_they_came_out_as_expected():
    process = fit(X_NF, Y_N)
    running_RF = np.array([[0.9, 0.9, 0.1]])
    more = with_expected(process, X_NF, Y_N, running_RF)
    mean, deviation = process.predict(running_RF)
    mean_after, deviation_after = more.predict(running_RF)
    assert mean_after == pytest.approx(mean, abs=1e-6)
    assert deviation_after < deviation
    assert with_expected(process, X_NF, Y_N, np.empty((0, 3))) is process
