"""Search the passages of a pairs file: `python3 examples/search.py MODEL "query"`. Needs nothing but Python.

Prints the three nearest passages and their cosines.
"""

import argparse
import json
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

PAIRS = Path(__file__).with_name("nicknames.tsv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="served name")
    parser.add_argument("query")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    options = parser.parse_args()
    passages = sorted({line.split("\t")[1] for line in PAIRS.read_text(encoding="utf-8").splitlines()})
    query = ask(options.url, "/vectorize", {"text": options.query, "model": options.model})["vector"]
    vectors = ask(options.url, "/vectorize-batch", {"items": passages, "model": options.model})["vectors"]
    cosines = [sum(a * b for a, b in zip(query, vector, strict=True)) for vector in vectors]
    for cosine, passage in sorted(zip(cosines, passages, strict=True), reverse=True)[:3]:
        print(f"{cosine:.3f}  {passage}")


def ask(url: str, path: str, body: dict) -> dict:
    """The answer to a POST request."""
    request = Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urlopen(request, timeout=60) as answer:  # noqa: S310 - the address is the user's own
            return json.load(answer)
    except HTTPError as error:
        sys.exit(json.load(error)["detail"])
    except URLError:
        sys.exit(f"No server answers at {url}; start one with `make run`.")


if __name__ == "__main__":
    main()
