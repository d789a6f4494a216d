"""The order of alarms, what marks decide, the histogram and its words."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_segad.review.queue import match_marks, rarity_text, score_histogram, telling_order
from fiftyone_segad.scoring.conformal import NormalScores

ALARM, OTHER = [0.1, 0.1, 0.2, 0.2], [0.6, 0.6, 0.2, 0.2]
IMAGE = [0.0, 0.0, 1.0, 1.0]


def order(
    scores: list[float], families: list[str | None], decided: list[int] = (), disputed: list[int] = ()
) -> list[int]:
    flags = [np.isin(np.arange(len(scores)), list(chosen)) for chosen in (decided, disputed)]
    return telling_order(np.array(scores), 1.0, families, *flags).tolist()


def test_without_families_the_nearest_to_the_threshold_leads() -> None:
    assert order([3.0, 1.5, 2.0], [None] * 3) == [1, 2, 0]


def test_a_family_is_asked_about_once_before_the_rest() -> None:
    families = ["dust", "dust", "hole", None]
    assert order([3.0, 2.0, 4.0, 1.5], families) == [1, 2, 3, 0]


def test_a_family_with_a_mark_is_not_asked_about_first() -> None:
    families = ["dust", "dust", "hole", None]
    assert order([3.0, 2.0, 4.0, 1.5], families, decided=[0]) == [2, 3, 1, 0]


def test_what_runs_disagree_on_comes_before_all_else() -> None:
    assert order([3.0, 2.0, 4.0], ["dust", "dust", None], disputed=[2]) == [2, 1, 0]


def test_no_alarms_have_an_order() -> None:
    assert order([], []) == []


def test_a_mark_decides_the_alarm_of_its_box_alone() -> None:
    """Boxes of one image may lie in each other: a mark of one says nothing of the other."""
    inner = [0.12, 0.12, 0.1, 0.1]
    assert match_marks(np.array([ALARM, inner]), np.array([ALARM])).tolist() == [0, -1]


def test_a_mark_of_the_image_decides_all_of_its_alarms_unless_one_has_its_own() -> None:
    assert match_marks(np.array([ALARM, OTHER]), np.array([ALARM, IMAGE])).tolist() == [0, 1]


def test_a_region_that_learning_has_changed_a_little_stays_decided() -> None:
    marked = [0.1, 0.1, 0.25, 0.2]
    assert match_marks(np.array([ALARM, OTHER]), np.array([marked])).tolist() == [0, -1]


def test_a_mark_on_a_small_part_of_an_alarm_does_not_decide_it() -> None:
    assert match_marks(np.array([ALARM]), np.array([[0.1, 0.1, 0.05, 0.05]])).tolist() == [-1]


def test_of_several_marks_the_latest_counts() -> None:
    assert match_marks(np.array([ALARM]), np.array([ALARM, IMAGE, ALARM])).tolist() == [2]


@pytest.mark.parametrize(("alarms", "marks", "expected"), [([], [ALARM], []), ([ALARM], [], [-1])])
def test_nothing_matches_nothing(alarms: list[list[float]], marks: list[list[float]], expected: list[int]) -> None:
    assert match_marks(np.array(alarms), np.array(marks)).tolist() == expected


def test_the_histogram_holds_every_score_and_the_threshold() -> None:
    edges, normal, alarm = score_histogram(np.array([2.0, 5.0]), np.array([0.5, 1.0, 1.5]), 9.0)
    assert (edges[0], edges[-1]) == (0.5, 9.0)
    assert (sum(normal), sum(alarm)) == (3, 2)
    assert len(edges) == len(normal) + 1 == len(alarm) + 1


def test_a_histogram_of_one_score_has_a_width() -> None:
    edges, _, alarm = score_histogram(np.array([2.0]), np.zeros(0), 2.0)
    assert edges[-1] > edges[0] and sum(alarm) == 1


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (0.5, "5 of 5 good images score as high"),
        (3.0, "3 of 5 good images score as high"),
        (5.0, "1 of 5 good images scores as high"),
        (5.1, "none of 5 good images scores as high"),
    ],
)
def test_words_of_a_p_value(score: float, words: str) -> None:
    assert rarity_text(score, NormalScores.of([1, 2, 3, 4, 5])) == words


def test_pictures_of_one_part_count_as_one() -> None:
    assert rarity_text(3, NormalScores.of([1, 4, 2, 5], [0, 0, 1, 1])) == "1 of 2 good parts scores as high"


def test_without_normals_all_images_are_compared_with() -> None:
    assert rarity_text(2, NormalScores.of([1, 2]), normal=False) == "1 of 2 images scores as high"
    assert rarity_text(2, NormalScores.of([])) == ""
