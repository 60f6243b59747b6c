"""What the model cards of both text starters say alike."""

from recipes.text.corpus import DICTIONARIES, MAN_PAGE_PACKAGES, MESSAGE_PACKAGES
from recipes.text.teacher import REQUIREMENT
from recipes.text.vocabulary import N_PIECES

VOCABULARY = (
    f"{N_PIECES:,} Unigram pieces, trained by sentencepiece on the corpus; capitals are folded into small letters, and "
    "every digit is a piece of its own."
)

DATA = f"""Pairs of texts from Debian packages, 187,000 in all:

- man pages: the description in the NAME line and the first 180 words of DESCRIPTION, 9,300 English pages of
  {len(MAN_PAGE_PACKAGES)} packages and 2,100 pairs with translations into German, French, Spanish, Polish, Brazilian
  Portuguese and Russian (manpages-l10n);
- WordNet's words and glosses (30,000), terms and explanations of FOLDOC and the Jargon File (6,000);
- messages of programs and of a game in the same six languages with their English originals (80,000;
  {len(MESSAGE_PACKAGES)} packages), and words of {len(DICTIONARIES)} FreeDict dictionaries (60,000).

The test set is the pages of `manpages` and `manpages-dev`. No page of these names was trained on, from whatever
package, section or language, nor any page whose text begins alike, nor any pair with a query of the test set.

The teacher was all-MiniLM-L6-v2 (Apache 2.0), which the Python package `{REQUIREMENT}` carries: its vectors of the
English texts were targets of the training. Its weights are not in this checkpoint."""

STATIC = """The embeddings were trained first, without layers: a text was the sum of its tokens' vectors, the first ones
counting most; they began as the teacher's vectors of the vocabulary's pieces. The encoder begins as that sum: its
layers as the identity, its positions so that late tokens count less."""

LIMITS = """It is a demonstration: it was trained for half an hour on one processor core, on texts about computers and
on dictionary entries. It knows the common words of English and has a first idea of six other languages; it is no match
for the model whose file format it has, and should not be used where results matter."""
