"""Model cards."""

from pathlib import Path

import yaml

from recipes.cards import Card, write_card

CARD = Card(
    title="e5-starter",
    family="e5",
    original="intfloat/multilingual-e5-large",
    library="sentence-transformers",
    architecture="Four layers.",
    data="Man pages.",
    method="Contrastive.",
    recipe="make starter-e5",
    seed=7,
    limits="No model for production.",
    figures=[{"model": "e5-starter", "nDCG@10": 0.66111}, {"model": "chance", "nDCG@10": 0.01}],
)


def test_a_card_has_front_matter_that_the_hub_reads(tmp_path: Path) -> None:
    write_card(tmp_path, CARD)
    _, front, _ = (tmp_path / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "mit",
        "library_name": "sentence-transformers",
        "tags": ["starter", "e5"],
    }


def test_a_card_tells_everything(tmp_path: Path) -> None:
    write_card(tmp_path, CARD)
    text = (tmp_path / "README.md").read_text()
    told = ("Four layers.", "Man pages.", "Contrastive.", "make starter-e5", "seed is 7", "No model for production.")
    assert all(words in text for words in told)
    assert "| e5-starter |   0.661 |" in text
