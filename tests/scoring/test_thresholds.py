"""Thresholds: quantiles, numbers of alarms, rules."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_segad.scoring.conformal import NormalScores
from fiftyone_segad.scoring.thresholds import (
    PIXEL_SHARE,
    ThresholdRule,
    Thresholds,
    alarms_threshold,
    choose_thresholds,
    parse_threshold,
    quantile_threshold,
    threshold_text,
)

NONE = np.zeros(0)
NO_NORMALS = NormalScores.of([])
NORMALS = NormalScores.of(np.arange(1.0, 20))  # 19 normals, 1 to 19


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
        *[(text, "number of alarms must be") for text in ("alarms:-1", "alarms:2.5", "alarms:nan", "alarms:many")],
        *[(text, "is not a threshold") for text in ("", "fpr", "fpr:", "quantile", "f1:0.5", "F1", "best", "p:0.1")],
        *[(text, "is not a threshold") for text in ("alarms", "alarms:")],
        *[(value, "is not a threshold") for value in ("nan", "inf", float("nan"), float("-inf"), True, None, [0.5])],
    ],
)
def test_error_of_a_threshold(text: str | float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_threshold(text)


@pytest.mark.parametrize("text", ["fpr:0.01", "quantile:0.95", "alarms:20", "f1"])
def test_rule_is_written_as_it_was_given(text: str) -> None:
    assert str(parse_threshold(text)) == text


@pytest.mark.parametrize(
    ("rule", "normal_pixels", "expected"),
    [
        pytest.param("fpr:0.1", NONE, Thresholds("fpr:0.1", 18, 18), id="2 of 20; no pixels known"),
        pytest.param("fpr:0.1", np.arange(1, 1001) / 100, Thresholds("fpr:0.1", 18, 9.9), id="990 of 1000 pixels"),
        pytest.param("fpr:0.1", np.full(9, 99.0), Thresholds("fpr:0.1", 18, 18), id="never above the image's"),
        pytest.param("quantile:0.5", NONE, Thresholds("quantile:0.5", 0.2, 0.2), id="of the scored images"),
        pytest.param("f1", np.ones(9), Thresholds("f1", 0.7, 0.4), id="both come from the truth"),
    ],
)
def test_choose(rule: str, normal_pixels: np.ndarray, expected: Thresholds) -> None:
    assert PIXEL_SHARE == 0.01
    thresholds, warnings = choose_thresholds(
        parse_threshold(rule), np.array([0.1, 0.2, 0.3]), NORMALS, normal_pixels, f1=(0.7, 0.4)
    )
    assert thresholds == expected and warnings == []


def test_choose_a_number() -> None:
    thresholds, warnings = choose_thresholds(parse_threshold(2.5), NONE, NO_NORMALS, NONE)
    assert (thresholds.image, thresholds.pixel, warnings) == (2.5, 2.5, [])


def test_warning_of_too_few_normals() -> None:
    thresholds, warnings = choose_thresholds(parse_threshold("fpr:0.01"), NONE, NORMALS, NONE)
    assert thresholds.image == 19
    assert len(warnings) == 1 and "19 normal images" in warnings[0] and "about 0.05" in warnings[0]
    assert choose_thresholds(parse_threshold("fpr:0.05"), NONE, NORMALS, NONE)[1] == []  # 1 / 20 is enough


def test_warning_names_how_many_parts_are_missing() -> None:
    normals = NormalScores.of(np.arange(18.0), np.arange(18) // 2)  # 9 parts, two pictures each
    [warning] = choose_thresholds(parse_threshold("fpr:0.05"), NONE, normals, NONE)[1]
    assert "18 normal images of 9 parts" in warning and "Add 10 more" in warning  # 1 / (19 + 1) is 0.05


@pytest.mark.parametrize(("alarms", "flagged"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 2), (5, 5), (6, 6), (99, 6)])
def test_number_of_alarms(alarms: int, flagged: int) -> None:
    scores = np.array([2.0, 7, 3, 3, 9, 3])  # three are alike: both 3 and 4 alarms would flag five images
    assert (scores > alarms_threshold(scores, alarms)).sum() == flagged
    thresholds, _ = choose_thresholds(parse_threshold(f"alarms:{alarms}"), scores, NORMALS, NONE)
    assert (thresholds.rule, (scores > thresholds.image).sum()) == (f"alarms:{alarms}", flagged)


@pytest.mark.parametrize(
    ("rule", "message"),
    [("fpr:0.01", "'fpr:0.01' needs normal images"), ("f1", "needs ground-truth masks"), ("quantile:0.9", "scores")],
)
def test_error_of_a_rule_without_what_it_needs(rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_thresholds(parse_threshold(rule), NONE, NO_NORMALS, NONE)


@pytest.mark.parametrize(("rule", "text"), [("fpr:0.01", "0.9 (fpr:0.01)"), ("f1", "0.9 (f1)"), ("0.9", "0.9")])
def test_a_threshold_given_as_a_number_is_shown_once(rule: str, text: str) -> None:
    assert threshold_text(0.9, rule) == text
