"""Vectors of words from their letters."""

from recipes.pages.spelling import N_FEATURES, Spelling, features


def shared(one: str, other: str) -> float:
    """Share of features that two words have in common."""
    first, second = set(features(one)), set(features(other))
    return len(first & second) / len(first | second)


def test_words_that_look_alike_share_more() -> None:
    assert shared("harvest", "harvests") > shared("harvest", "coffee")
    assert shared("stop", "pots") < 1


def test_case_does_not_matter() -> None:
    assert set(features("Harvest")) == set(features("harvest"))


def test_features_are_in_range() -> None:
    for word in ("a", "zz", "transportation", "naïve", ""):
        assert all(0 <= feature < N_FEATURES for feature in features(word))


def test_vectors_of_known_and_of_other_words_agree() -> None:
    spelling = Spelling(["harvest", "coffee"], dim=8)
    assert spelling().equal(spelling.of(["harvest", "coffee"]))
