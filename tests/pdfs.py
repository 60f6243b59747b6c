"""PDFs for requests, written by hand: the smallest that say what a test needs."""

from collections.abc import Sequence

Page = str | None
"""A colour of the whole page, or None for a page that is none."""

COLORS = {"red": "1 0 0", "green": "0 1 0", "blue": "0 0 1", "white": "1 1 1"}


def pdf(*colors: Page, width: float = 96, height: float = 48, page: str = "", catalog: str = "") -> bytes:
    """A PDF of one page for each colour; `page` and `catalog` are further entries of these dictionaries.

    The left half of a page has the colour, the right half is not painted. Sizes in points.
    """
    first = 3
    objects = [f"<</Type/Catalog/Pages 2 0 R{catalog}>>"]
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
