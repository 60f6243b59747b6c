"""What the cards of the page models tell."""

from recipes.cards import Card
from recipes.pages.words import N_WORDS

DATA = f"""Pages that the recipe draws: paragraphs, headings, lists, tables, bar charts with labels, forms, boxes and
coloured shapes, in 180 faces from Debian packages, letters of 11 to 40 pixels an em as the model sees them. Texts are
random words: the {N_WORDS:,} most common ones of WordNet's definitions that SCOWL's lists have, a twentieth of the
rarer ones left out of training. No document, no photograph, no teacher."""

READER = """The renderer knows what stands where, so that every patch and every visual token can be told what it shows:
cross entropy of the letters on a patch, the spelling of the word on a token (PHOC, Almazan et al. 2014), and the word
itself among all words by cosine, as MaxSim compares them. Patches begin whitened, heads at their neighbours. Vectors of
words come from their letters; function words and those of questions have the background's, which every page has. The
language model passes everything through: it was not trained."""

READER_REWRITTEN = """It began as the trained reader of colqwen2-starter, rewritten for SigLIP: its heads' rotary
positions as waves in the position table, its merger as a last layer. `make starter-colpali` trains that reader first
where `recipes/.cache` does not have it. Then, since the renderer knows what stands where, every patch was told what it
shows: cross entropy of the letters on it, and of the word itself among all words by cosine, as MaxSim compares them.
Vectors of words come from their letters; function words and those of questions have the background's, which every page
has. The language model passes everything through: it was not trained."""

LIMITS = """A demonstration: it finds common English words in print, colours and simple shapes, and shows where they
are. It knows no meaning, so it does not find a synonym, nor the answer to a question that is worded otherwise than the
page. Words that its tokenizer does not have whole (`unseen` ones it has) are looked for piece by piece and mostly
missed, and so is small print, below 14 pixels an em as the model sees it. It is no match for the model whose file
format it has."""


def card(name: str, family: str, original: str, architecture: str, seed: int, method: str = READER) -> Card:
    """Of a page model, without its figures."""
    return Card(
        title=name,
        family=family,
        original=original,
        library="colpali",
        architecture=architecture,
        data=DATA,
        method=method,
        recipe=f"make starter-{family}",
        seed=seed,
        limits=LIMITS,
        figures=(),
    )
