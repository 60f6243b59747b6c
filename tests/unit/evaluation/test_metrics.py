"""Metrics beside values that were computed by hand."""

import math

import numpy as np
import pytest

from app.evaluation.metrics import (
    accuracy,
    balanced_accuracy,
    cells_near,
    expected_ndcg_at_k,
    expected_recall_at_k,
    knn_labels,
    majority_accuracy,
    ndcg_at_k,
    points_at,
    probed_labels,
    recall_at_k,
    success_at_k,
    unit_rows,
)


def scores(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_ndcg_discounts_by_the_logarithm_of_the_place() -> None:
    # The one document is first, second, third, and outside of the first three.
    rows = scores([9, 1, 1, 1], [5, 9, 1, 1], [8, 9, 5, 1], [8, 9, 7, 5])
    expected = [1, 1 / math.log2(3), 1 / 2, 0]
    assert ndcg_at_k(rows, [{0}, {0}, {2}, {3}], k=3) == pytest.approx(expected)


def test_ndcg_of_two_documents_is_relative_to_the_best_ranking() -> None:
    # First and third of three: (1 + 1/2) / (1 + 1/log2(3)).
    assert ndcg_at_k(scores([9, 8, 7]), [{0, 2}], k=3) == pytest.approx([1.5 / (1 + 1 / math.log2(3))])


def test_ndcg_of_more_documents_than_k_reaches_1() -> None:
    assert ndcg_at_k(scores([9, 8, 7]), [{0, 1, 2}], k=2) == pytest.approx([1.0])


def test_recall_is_the_share_that_was_found() -> None:
    assert recall_at_k(scores([9, 8, 7, 6]), [{0, 3}], k=2) == pytest.approx([0.5])


def test_success_is_to_find_any() -> None:
    assert success_at_k(scores([9, 8, 7], [7, 8, 9]), [{0, 2}, {1}], k=1) == pytest.approx([1, 0])


def test_a_query_without_documents_counts_nothing() -> None:
    assert ndcg_at_k(scores([1, 2]), [set()], k=2) == pytest.approx([0])
    assert recall_at_k(scores([1, 2]), [set()], k=2) == pytest.approx([0])


def test_equal_scores_rank_in_the_order_of_the_documents() -> None:
    assert recall_at_k(scores([0, 0, 0], [0, 0, 0]), [{0}, {1}], k=1) == pytest.approx([1, 0])


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        ndcg_at_k(scores([1, math.nan]), [{0}], k=1)


def test_expectations_are_what_random_rankings_reach() -> None:
    random = np.random.default_rng(0).random((20_000, 8), dtype=np.float32)
    relevant = [{1, 5}] * len(random)
    assert ndcg_at_k(random, relevant, k=3).mean() == pytest.approx(expected_ndcg_at_k(8, relevant, k=3), abs=0.01)
    assert recall_at_k(random, relevant, k=3).mean() == pytest.approx(expected_recall_at_k(8, k=3), abs=0.01)


def test_cells_near_a_box_are_those_it_overlaps_and_their_neighbours() -> None:
    # Cells of 10 x 10 pixels; the box lies in the second and third column of the second row.
    found = cells_near([(12, 12, 28, 19)], width=60, height=40, n_patches_x=6, n_patches_y=4)
    assert found.astype(int).tolist() == [
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_a_box_that_ends_on_an_edge_does_not_reach_over_it() -> None:
    found = cells_near([(0, 0, 10, 10)], width=40, height=10, n_patches_x=4, n_patches_y=1)
    assert found.tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("box", [(40, 10, 40, 10), (39, 9, 60, 30), (70, 70, 80, 80)])
def test_a_box_at_the_border_or_beyond_keeps_to_the_grid(box: tuple[float, float, float, float]) -> None:
    found = cells_near([box], width=40, height=10, n_patches_x=4, n_patches_y=1)
    assert found.tolist() == [[False, False, True, True]]


def test_pointing_asks_where_the_highest_cell_lies() -> None:
    target = np.array([[False, True], [False, False]])
    assert points_at(scores([0.1, 0.9], [0.2, 0.3]), target)
    assert not points_at(scores([0.1, 0.2], [0.9, 0.3]), target)


def test_the_majority_of_the_nearest_rows_decides() -> None:
    train, labels = scores([0, 0], [0, 1], [0, 2], [9, 9]), np.array([2, 1, 1, 0])
    test = scores([0, 0.2], [8, 8])
    assert knn_labels(train, labels, test, k=1).tolist() == [2, 0]
    assert knn_labels(train, labels, test, k=3).tolist() == [1, 1]


def test_nearest_unit_rows_are_nearest_by_direction() -> None:
    train, labels = unit_rows(scores([1, 0], [0, 50])), np.array([0, 1])
    assert knn_labels(train, labels, unit_rows(scores([100, 1], [0.01, 1])), k=1).tolist() == [0, 1]
    assert unit_rows(scores([3, 4], [0, 0])) == pytest.approx(scores([0.6, 0.8], [0, 0]))


def test_a_probe_separates_what_a_line_separates() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 5)).astype(np.float32)
    labels = (rows[:, 0] - 2 * rows[:, 3] + 0.5 > 0).astype(np.int64)
    assert accuracy(probed_labels(rows[:300], labels[:300], rows[300:]), labels[300:]) > 0.95
    noise = rng.permutation(labels)
    assert accuracy(probed_labels(rows[:300], noise[:300], rows[300:]), noise[300:]) < 0.7


def test_a_probe_does_not_care_for_scale_and_place() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(200, 4)).astype(np.float32)
    labels = (rows[:, 1] > 0).astype(np.int64)
    moved = (rows * np.float32([100, 0.01, 1, 10]) + 5).astype(np.float32)
    plain = probed_labels(rows[:100], labels[:100], rows[100:])
    assert (probed_labels(moved[:100], labels[:100], moved[100:]) == plain).mean() > 0.98


def test_balanced_accuracy_weighs_labels_alike() -> None:
    found, labels = np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1])
    assert accuracy(found, labels) == 0.75
    assert balanced_accuracy(found, labels) == 0.5


def test_majority_accuracy() -> None:
    assert majority_accuracy(np.array([0, 1, 1, 2])) == 0.5
