"""PDFs for requests, written by hand: the smallest that say what a test needs."""

from collections.abc import Sequence

Page = str | None
"""A colour of the whole page, or None for a page that is none."""

COLORS = {"red": "1 0 0", "green": "0 1 0", "blue": "0 0 1", "white": "1 1 1"}


def pdf(*colors: Page, width: float = 96, height: float = 48, page: str = "") -> bytes:
    """A PDF of one page for each colour; `page` is more of a page's dictionary.

    The left half of a page has the colour, the right half is not painted. Sizes in points.
    """
    first = 3
    objects = ["<</Type/Catalog/Pages 2 0 R>>"]
    kids = " ".join(f"{first + 2 * index} 0 R" for index in range(len(colors)))
    objects.append(f"<</Type/Pages/Kids[{kids}]/Count {len(colors)}>>")
    for index, color in enumerate(colors):
        content = f"{COLORS[color]} rg 0 0 {width / 2} {height} re f" if color else ""
        box = f"/MediaBox[0 0 {width} {height}]"
        objects.append(
            f"<</Type/Page/Parent 2 0 R{box}/Contents {first + 2 * index + 1} 0 R{page}>>" if color else "(no page)"
        )
        objects.append(f"<</Length {len(content)}>>stream\n{content}\nendstream")
    return assembled(objects)


def assembled(objects: Sequence[str], trailer: str = "") -> bytes:
    """A file of these objects, numbered from 1; the first is the catalog."""
    data = b"%PDF-1.7\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<</Size {size}/Root 1 0 R{trailer}>>\n"
    return data + f"{end}startxref\n{len(data)}\n%%EOF\n".encode()


def with_annotation(annotation: str, catalog: str = "") -> bytes:
    """A white page of 100 x 50 points; the annotation is blue and lies from 10, 10 to 30, 30, from the bottom left."""
    place = "/Type/Annot/Rect[10 10 30 30]/F 4/AP<</N 5 0 R>>"
    blue = "0 0 1 rg 0 0 20 20 re f"
    return assembled(
        [
            f"<</Type/Catalog/Pages 2 0 R{catalog}>>",
            "<</Type/Pages/Kids[3 0 R]/Count 1>>",
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 50]/Annots[4 0 R]>>",
            f"<<{place}{annotation}>>",
            f"<</Type/XObject/Subtype/Form/BBox[0 0 20 20]/Length {len(blue)}>>stream\n{blue}\nendstream",
        ]
    )


ENCRYPTED = assembled(
    [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[]/Count 0>>",
        f"<</Filter/Standard/V 1/R 2/O<{'00' * 32}>/U<{'00' * 32}>/P -4>>",
    ],
    "/Encrypt 3 0 R/ID[<00><00>]",
)
"""It wants a password."""
NO_PAGES = assembled(["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[]/Count 0>>"])
