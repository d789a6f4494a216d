"""Principal components, against scikit-learn's on standardised features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from fiftyone_segad.scoring.levels import fit_projection


def correlated(rows: int = 400, width: int = 12, seed: int = 0) -> NDArray[np.float64]:
    """Features of very different means, scales and variances of components."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(rows, width)) * np.linspace(5, 0.5, width) @ random.normal(size=(width, width))
    return mixed * 10 ** random.uniform(-2, 2, width) + 100 * random.normal(size=width)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("components", [1, 5, 12])
def test_components_equal_those_of_scikit_learn(components: int, whiten: bool) -> None:
    features, others = correlated(seed=0), correlated(50, seed=0)
    scaler = StandardScaler().fit(features)
    pca = PCA(components, svd_solver="full").fit(scaler.transform(features))
    expected = pca.transform(scaler.transform(others))
    if whiten:  # scikit-learn divides by n - 1
        expected = expected / np.sqrt(pca.explained_variance_ * (len(features) - 1) / len(features))
    projected = fit_projection(features, components, whiten)(others.astype(np.float32))
    assert projected.dtype == np.float32 and projected.shape == (50, components)
    signs = np.sign((projected * expected).sum(axis=0))  # a component's sign is a convention
    np.testing.assert_allclose(projected * signs, expected, atol=2e-3 * np.abs(expected).max())


def test_whitening_gives_components_one_variance() -> None:
    features = correlated()
    whitened = fit_projection(features, 12, whiten=True)(features.astype(np.float32))
    np.testing.assert_allclose(np.cov(whitened.T, bias=True), np.eye(12), atol=5e-3)
    plain = fit_projection(features, 12, whiten=False)(features.astype(np.float32)).var(axis=0)
    assert (np.diff(plain) < 0).all() and plain[0] > 10 * plain[-1]  # else there was nothing to whiten
    assert plain.sum() == pytest.approx(12, rel=1e-3)  # the features' variances, after standardisation


def test_all_components_keep_the_distances_of_standardised_features() -> None:
    features = correlated(30)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    projected = fit_projection(features, 12, whiten=False)(features.astype(np.float32))
    expected = np.linalg.norm(standard[:, None] - standard, axis=2)
    np.testing.assert_allclose(np.linalg.norm(projected[:, None] - projected, axis=2), expected, atol=1e-3)


def test_a_feature_that_is_constant_says_nothing() -> None:
    features = correlated(100, 4)
    with_constant = np.insert(features, 2, 7.3, axis=1)
    projection = fit_projection(with_constant, 4, whiten=True)
    others = with_constant[:10].astype(np.float32)
    expected = projection(others)
    others[:, 2] = 1000
    np.testing.assert_array_equal(projection(others), expected)
    alone = fit_projection(features, 4, whiten=True)(features[:10].astype(np.float32))
    np.testing.assert_allclose(np.abs(expected), np.abs(alone), atol=1e-2)


def test_constant_features_alone_give_zeros() -> None:
    projection = fit_projection(np.full((20, 3), 5.0), 2, whiten=True)
    assert (projection(np.array([[5, 5, 5], [9, -1, 0]], np.float32)) == 0).all()


def test_no_more_components_than_features() -> None:
    projection = fit_projection(correlated(50, 3), 64, whiten=True)
    assert projection.matrix.shape == (3, 3)
    assert projection(np.zeros((7, 3), np.float32)).shape == (7, 3)


def test_fewer_rows_than_components() -> None:
    features = correlated(5, 12)
    projected = fit_projection(features, 12, whiten=True)(features.astype(np.float32))
    assert np.isfinite(projected).all()
    # Five rows vary in four directions; what rounding leaves in the others must not matter
    assert (projected.var(axis=0)[:4] > 0.9).all() and (projected.var(axis=0)[4:] < 0.1).all()


@pytest.mark.parametrize("whiten", [False, True])
def test_signs_do_not_depend_on_the_order_of_rows(whiten: bool) -> None:
    features = correlated(300, 6)
    first = fit_projection(features, 6, whiten)
    second = fit_projection(features[::-1], 6, whiten)
    scale = np.abs(first.matrix).max(axis=1, keepdims=True)  # of each feature
    np.testing.assert_allclose(second.matrix / scale, first.matrix / scale, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_error_of_features_that_are_not_finite(value: float) -> None:
    features = correlated(20, 3)
    features[4, 1] = value
    with pytest.raises(ValueError, match="finite"):
        fit_projection(features, 2, whiten=False)


def test_error_without_features() -> None:
    with pytest.raises(ValueError, match="need features"):
        fit_projection(np.zeros((0, 3)), 2, whiten=False)
