"""Predictions find their images by name, and none by a guess."""

from __future__ import annotations

import pytest

from fiftyone_segad.runs.prediction_matching import match_predictions

PATHS = {"1": "/data/bolt/test/cut/000.png", "2": "/data/bolt/test/good/000.png", "3": "/data/bolt/test/cut/001 a.JPG"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["1", "2"], {"1": "1", "2": "2"}),
        (["/data/bolt/test/cut/000.png"], {"1": "/data/bolt/test/cut/000.png"}),
        (["bolt/test/cut/000", "bolt/test/good/000"], {"1": "bolt/test/cut/000", "2": "bolt/test/good/000"}),
        (["C:\\other\\cut\\000.png"], {}),
        (["/elsewhere/test/cut/000.png"], {"1": "/elsewhere/test/cut/000.png"}),
        (["001 a"], {"3": "001 a"}),
        (["maps/001 a"], {"3": "maps/001 a"}),
        (["cut/001 a_anomaly_map"], {"3": "cut/001 a_anomaly_map"}),
        (["cut/001 a_HEATMAP"], {"3": "cut/001 a_HEATMAP"}),
        (["002"], {}),
    ],
)
def test_what_is_of_which_image(keys: list[str], expected: dict[str, str]) -> None:
    matches = match_predictions(keys, PATHS)
    assert matches.keys == expected
    assert matches.unused == [key for key in keys if key not in expected.values()]
    assert matches.ambiguous == []


def test_a_name_that_two_images_have_needs_its_folder() -> None:
    assert match_predictions(["000"], PATHS).keys == {}
    assert match_predictions(["elsewhere/000"], PATHS).keys == {}


def test_a_name_that_two_predictions_have_needs_its_folder() -> None:
    paths = {"1": "/data/cut/000.png"}
    matches = match_predictions(["cut/000", "good/000"], paths)
    assert matches.keys == {"1": "cut/000"} and matches.unused == ["good/000"]
    assert match_predictions(["bad/000", "good/000"], paths).keys == {}


def test_what_two_images_could_have_has_none() -> None:
    paths = {"1": "/a/cut/000.png", "2": "/b/cut/000.png"}
    matches = match_predictions(["cut/000"], paths)
    assert matches.keys == {} and sorted(matches.ambiguous) == sorted(paths.values())
    matches = match_predictions(["cut/000", "cut/000_map"], {"1": "/a/cut/000.png"})
    assert matches.keys == {} and matches.ambiguous == ["/a/cut/000.png"]
