"""Texts of all kinds for the parity tests."""

MIXED = [
    "hello world",
    "What does the annual report say about solar energy?",
    "",
    "the the the telescope, the telescope and the moon",
    "La société a publié ses résultats — 1 250 000 € de bénéfice.",
    "Москва, столица России; наука и техника 2024",
    "検索エンジンは文書を探します。",
    "البحث عن المعلومات",
    "emoji 🛰️ and rare signs 𝕏 ﷽",
    "special </s> tokens <mask> in <pad> a <s> text <unk>",
    "line one\nline two\r\n\tindented    spaces ",
    "https://example.com/a/very/long/path?query=1&other=two#fragment",
    "quarterly revenue statement " * 40,
    "x",
    "Ein Satz über Donaudampfschifffahrtsgesellschaftskapitäne",
    "numbers 1 22 333 4444 55555 666666 7777777",
]

LONG = " ".join(f"paragraph {i} of the water policy report" for i in range(300))
"""More than E5's 512 tokens."""

VERY_LONG = " ".join(f"section {i} of the water policy report" for i in range(2000))
"""More than BGE-M3's 8192 tokens."""
