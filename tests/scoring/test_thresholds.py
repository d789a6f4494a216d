"""Thresholds: conformal by hand, against p-values and by simulation; quantiles; rules."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fiftyone_segad.scoring.thresholds import (
    PIXEL_SHARE,
    ThresholdRule,
    Thresholds,
    choose_thresholds,
    conformal_threshold,
    p_values,
    parse_threshold,
    quantile_threshold,
    smallest_fpr,
    threshold_text,
)

NONE = np.zeros(0)
NORMALS = np.arange(1.0, 20)  # 19 normals, 1 to 19


@pytest.mark.parametrize(
    ("scores", "fpr", "expected"),
    [
        pytest.param([3, 1, 2, 4], 0.2, 4, id="1 of 5 new normals may be above all four"),
        pytest.param([3, 1, 2, 4], 0.4, 3, id="2 of 5"),
        pytest.param([3, 1, 2, 4], 0.59, 3, id="just less than 3 of 5"),
        pytest.param([3, 1, 2, 4], 0.6, 2, id="3 of 5"),
        pytest.param([3, 1, 2, 4], 0.99, 1, id="all but the lowest"),
        pytest.param([3, 1, 2, 4], 0.01, 4, id="too few for the share: the highest"),
        pytest.param([5, 5, 5, 1], 0.4, 5, id="ties"),
        pytest.param([7], 0.5, 7, id="one normal"),
        pytest.param(list(range(1, 10)), 0.3, 7, id="3 of 10, where 0.3 * 10 could be rounded down"),
        pytest.param(list(range(1, 100)), 0.29, 71, id="29 of 100: 0.29 * 100 is 28.999..."),
    ],
)
def test_conformal_by_hand(scores: list[float], fpr: float, expected: float) -> None:
    assert conformal_threshold(scores, fpr) == expected


def test_error_without_scores() -> None:
    with pytest.raises(ValueError, match="needs scores of normal"):
        conformal_threshold([], 0.01)
    with pytest.raises(ValueError, match="needs scores"):
        quantile_threshold([], 0.5)


def test_p_values_by_hand() -> None:
    np.testing.assert_allclose(p_values([0, 1, 2, 2.5, 9], [1, 2, 2, 3]), [1, 1, 4 / 5, 2 / 5, 1 / 5])


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 19, 37, 99, 100, 250])
def test_flagged_is_a_p_value_of_at_most_the_share(n: int) -> None:
    random = np.random.default_rng(n)
    normals = random.integers(0, 2 * n, n).astype(float)  # with ties
    scores = np.arange(-1, 2 * n + 1, 0.5)
    at_least = [int((normals >= score).sum()) for score in scores]
    for fpr in ("0.01", "0.05", "0.1", "0.2", "0.25", "0.3", "0.5", "0.7", "0.9", "0.99"):
        if Fraction(fpr) >= Fraction(1, n + 1):  # else no p-value is that low
            expected = [Fraction(1 + above, n + 1) <= Fraction(fpr) for above in at_least]
            assert (scores > conformal_threshold(normals, float(fpr))).tolist() == expected
    np.testing.assert_allclose(p_values(scores, normals), [(1 + above) / (n + 1) for above in at_least])


@pytest.mark.parametrize("n", [4, 9, 19, 99])
def test_smallest_share(n: int) -> None:
    normals = np.arange(n)
    assert smallest_fpr(n) == p_values([n], normals)[0] == 1 / (n + 1)
    assert conformal_threshold(normals, smallest_fpr(n)) == n - 1
    assert conformal_threshold(normals, smallest_fpr(n) / 5) == n - 1


@pytest.mark.parametrize(("n", "fpr"), [(19, 0.1), (30, 0.05), (50, 0.25), (12, 0.5)])
def test_share_of_false_alarms_in_simulation(n: int, fpr: float) -> None:
    random = np.random.default_rng(n)
    shares = []
    for _ in range(3000):
        scores = random.standard_normal(n + 20)
        shares.append(np.mean(scores[n:] > conformal_threshold(scores[:n], fpr)))
    error = np.std(shares) / np.sqrt(len(shares))
    expected = int(fpr * (n + 1) + 1e-9) / (n + 1)  # what exchangeability gives exactly
    assert expected <= fpr
    assert abs(np.mean(shares) - expected) < 4 * error


@pytest.mark.parametrize(
    ("quantile", "expected"),
    [
        pytest.param(0.95, 10, id="the highest of ten"),
        pytest.param(0.9, 9, id="nine of ten do not exceed 9"),
        pytest.param(0.5, 5, id="median"),
        pytest.param(0.01, 1, id="lowest"),
    ],
)
def test_quantile(quantile: float, expected: float) -> None:
    assert quantile_threshold([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], quantile) == expected


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("fpr:0.01", ThresholdRule("fpr", 0.01)),
        ("fpr:1e-3", ThresholdRule("fpr", 0.001)),
        ("quantile:0.95", ThresholdRule("quantile", 0.95)),
        ("f1", ThresholdRule("f1")),
        ("0.5", ThresholdRule("value", 0.5)),
        ("-2", ThresholdRule("value", -2)),
        (0.5, ThresholdRule("value", 0.5)),
        (3, ThresholdRule("value", 3)),
        (np.float32(0.5), ThresholdRule("value", 0.5)),
    ],
)
def test_parse_threshold(text: str | float, rule: ThresholdRule) -> None:
    assert parse_threshold(text) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *[(text, r"share must be in \(0, 1\)") for text in ("fpr:0", "fpr:1", "fpr:-0.1", "quantile:1.5", "fpr:nan")],
        *[(text, r"share must be in \(0, 1\)") for text in ("fpr:much", "quantile:inf")],
        *[(text, "is not a threshold") for text in ("", "fpr", "fpr:", "quantile", "f1:0.5", "F1", "best", "p:0.1")],
        *[(value, "is not a threshold") for value in ("nan", "inf", float("nan"), float("-inf"), True, None, [0.5])],
    ],
)
def test_error_of_a_threshold(text: str | float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_threshold(text)


@pytest.mark.parametrize("text", ["fpr:0.01", "quantile:0.95", "f1"])
def test_rule_is_written_as_it_was_given(text: str) -> None:
    assert str(parse_threshold(text)) == text


@pytest.mark.parametrize(
    ("rule", "normal_pixels", "expected"),
    [
        pytest.param("fpr:0.1", NONE, Thresholds("fpr:0.1", 18, 18), id="2 of 20; no pixels known"),
        pytest.param("fpr:0.1", np.arange(1, 1001) / 100, Thresholds("fpr:0.1", 18, 9.98), id="998 of 1000 pixels"),
        pytest.param("fpr:0.1", np.full(9, 99.0), Thresholds("fpr:0.1", 18, 18), id="never above the image's"),
        pytest.param("quantile:0.5", NONE, Thresholds("quantile:0.5", 0.2, 0.2), id="of the scored images"),
        pytest.param("f1", np.ones(9), Thresholds("f1", 0.7, 0.4), id="both come from the truth"),
    ],
)
def test_choose(rule: str, normal_pixels: np.ndarray, expected: Thresholds) -> None:
    assert PIXEL_SHARE == 0.002
    thresholds, warnings = choose_thresholds(
        parse_threshold(rule), np.array([0.1, 0.2, 0.3]), NORMALS, normal_pixels, f1=(0.7, 0.4)
    )
    assert thresholds == expected and warnings == []


def test_choose_a_number() -> None:
    thresholds, warnings = choose_thresholds(parse_threshold(2.5), NONE, NONE, NONE)
    assert (thresholds.image, thresholds.pixel, warnings) == (2.5, 2.5, [])


def test_warning_of_too_few_normals() -> None:
    thresholds, warnings = choose_thresholds(parse_threshold("fpr:0.01"), NONE, NORMALS, NONE)
    assert thresholds.image == 19
    assert len(warnings) == 1 and "19 normal images" in warnings[0] and "about 0.05" in warnings[0]
    assert choose_thresholds(parse_threshold("fpr:0.05"), NONE, NORMALS, NONE)[1] == []  # 1 / 20 is enough


@pytest.mark.parametrize(
    ("rule", "message"),
    [("fpr:0.01", "'fpr:0.01' needs normal images"), ("f1", "needs ground-truth masks"), ("quantile:0.9", "scores")],
)
def test_error_of_a_rule_without_what_it_needs(rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_thresholds(parse_threshold(rule), NONE, NONE, NONE)


@pytest.mark.parametrize(("rule", "text"), [("fpr:0.01", "0.9 (fpr:0.01)"), ("f1", "0.9 (f1)"), ("0.9", "0.9")])
def test_a_threshold_given_as_a_number_is_shown_once(rule: str, text: str) -> None:
    assert threshold_text(0.9, rule) == text
