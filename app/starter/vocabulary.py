"""A sentencepiece-like vocabulary that is the same on every machine.

The trainer of `tokenizers` gives another vocabulary on every run, so this one is counted instead: the
frequent substrings of a list of English words, and the single characters of many scripts.
"""

import math
from collections import Counter
from collections.abc import Iterator

WORD_START = "▁"
"""How sentencepiece writes the space before a word."""

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
"""In XLM-RoBERTa's order; `<mask>` has the last id."""

MAX_PIECE_LENGTH = 8
MIN_COUNT = 2

SCRIPTS = (
    (0x21, 0x7E),  # ASCII
    (0xA1, 0x17F),  # Latin-1 Supplement, Latin Extended-A
    (0x391, 0x3C9),  # Greek
    (0x401, 0x451),  # Cyrillic
    (0x5D0, 0x5EA),  # Hebrew
    (0x621, 0x652),  # Arabic
    (0x905, 0x94D),  # Devanagari
    (0xE01, 0xE4E),  # Thai
    (0x2010, 0x2026),  # General Punctuation
    (0x20AC, 0x20AC),  # Euro sign
    (0x3001, 0x3002),  # CJK Punctuation
    (0x3041, 0x30FE),  # Hiragana, Katakana
)
HAN = (
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十"
    "用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便"
    "図書検索質問回答表画像東京語彙"
)

WORDS = """
a able about above access account across act active add address after again age agency agree air all allow
almost along already also although always among amount an analysis and animal annual another answer any appear
application apply approach april area argument around art article as ask association at attention august
author authority available average away back balance bank base basic be because become before begin behind
benefit best better between big bill black blue board body book both box bring budget build building business
but by calculate call can capital car care carry case cash cause cell center central century certain chain
chair chance change chapter character charge chart check chemical child choice choose citizen city claim class
clean clear climate close cloud coast code cold collect college color column come common company compare
complete computer concern condition conference connect consider contain continue contract control cook cost
could country course court cover create culture cup current customer cut data date day deal december decide
decision deep degree deliver department describe design detail develop device diagram did difference different
difficult digital dinner direct discover discuss disease distance do doctor document does dog door down draw
drive due during each early earth east easy economy edge education effect effort eight either electric element
else email employee end energy engine engineer english enjoy enough enter environment equal error estimate even
event ever every evidence example exchange exercise expect experience explain express eye face fact factor fall
family far fast father february feel few field figure file fill final finance find fine fire first fish five
floor flow focus follow food for force foreign form forward four france free friend from front fuel full
function fund further future game garden gas general germany get girl give glass global go goal gold good
government graph great green ground group grow growth guide hand happen hard have he head health hear heart
heat heavy height help her here high him his history hold home hospital hot hotel hour house how however human
hundred idea if image impact important improve in include income increase index indicate individual industry
information inside instead institute insurance interest international internet into introduce invest invoice
is island issue it item its january job join july june just keep key kind kitchen know knowledge label labour
lake land language large last late law layer lead learn leave left legal less let letter level library life
light like limit line list listen little local long look loss lot love low machine main make man manage many
map march mark market material matter may me mean measure medical meet member memory message metal method middle
might mile military million mind minister minute model modern moment money month moon more morning most mother
mountain move much music must my name nation natural nature near need network never new news next night nine
no north not note nothing november now number object observe occur ocean october of off offer office often oil
old on once one online only open operate opinion option or orange orbit order organ other our out over own
page paint paper parent part party passage patient pattern pay people per percent period person phone photo
picture piece place plan planet plant play please point policy poor popular population port position possible
potential power practice present president press price print private probably problem process produce product
profit program project property protect prove provide public publish purchase put quality quarter query
question quick quiet quite rail rain raise range rate rather reach read ready real reason receive recent record
red reduce region relate remain remember remote report represent require research resource response rest result
return revenue review rich right ring rise risk river road rock role room rule run safe salary sale same sample
save say scale school science score sea search season seat second section sector security see seem sell send
sense separate september series serious serve service set seven several shall share she ship short should show
side sign similar simple since single site six size skill sleep slow small snow so social society software soil
solar some son soon sound source south space speak special speed spend sport spring staff stage stand standard
star start state station statistics step still stock stop store story street strong structure student study
subject success such sugar suggest summary summer sun supply support sure surface survey system table take talk
target task tax teach team technology telescope temperature ten term test text than that the their them then
theory there these they thing think this those thousand three through time title to today together token
tomorrow total toward town track trade traffic train travel treat tree trial true try turn two type under
understand union unit university until up use user usually value vector very view village visit voice volume
wait walk wall want war warm was watch water way we weather week weight well were west what when where which
while white who whole why wide will wind window winter with within without woman wonder word work world worry
would write wrong year yellow yes yesterday yet you young your zero
""".split()


def unigram_pieces(n_substrings: int = 2000) -> list[tuple[str, float]]:
    """A Unigram vocabulary: (piece, log probability) in the order of the ids, about 900 more than `n_substrings`."""
    counts = Counter(piece for word in WORDS for piece in set(_substrings(WORD_START + word)))
    total = sum(counts.values())
    rare = math.log(1 / total)
    frequent = [piece for piece, count in counts.items() if count >= MIN_COUNT]
    # What a piece saves: the tokens that its characters would have been, in every word that has it.
    frequent.sort(key=lambda piece: (-counts[piece] * (len(piece) - 1), piece))
    scores = dict.fromkeys(_single_characters(), rare - 2) | {
        piece: round(math.log(counts[piece] / total), 6) for piece in frequent[:n_substrings]
    }
    return [*((token, 0.0) for token in SPECIAL_TOKENS), *scores.items(), ("<mask>", 0.0)]


def _substrings(text: str) -> Iterator[str]:
    for start in range(len(text)):
        for end in range(start + 2, min(start + MAX_PIECE_LENGTH, len(text)) + 1):
            yield text[start:end]


def _single_characters() -> Iterator[str]:
    yield WORD_START
    for first, last in SCRIPTS:
        yield from map(chr, range(first, last + 1))
    yield from dict.fromkeys(HAN)
