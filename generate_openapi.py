"""Write openapi.json: `python generate_openapi.py`. Loads no model."""

import json
from pathlib import Path

from app.main import create_app
from app.settings import Settings

TARGET = Path(__file__).with_name("openapi.json")


def openapi_document() -> str:
    """The document of a server with default settings, whatever the environment says."""
    settings = Settings.model_construct()
    return json.dumps(create_app(settings).openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(openapi_document(), encoding="utf-8")
    print(f"wrote {TARGET.name}")
