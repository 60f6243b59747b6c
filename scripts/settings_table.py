"""Write README.md's table of settings from app/settings.py: `python -m scripts.settings_table`."""

from pathlib import Path

from pydantic.fields import FieldInfo

from app.settings import REPO, Settings

README = REPO / "README.md"
BEGIN, END = "<!-- settings: written by make settings -->\n", "<!-- end of settings -->\n"


def settings_table() -> str:
    """A Markdown table of all settings in the order of the class."""
    rows = [
        f"| `{name.upper()}` | {_default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | what it is |", "|---|---|---|", *rows]) + "\n"


def with_table(readme: str) -> str:
    """The text of a README with its table of settings replaced."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md lacks the lines {BEGIN.strip()} and {END.strip()}")
    return before + begin + settings_table() + end + after


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, Path):
        value = value.relative_to(REPO)
    if isinstance(value, float):
        value = f"{value:g}"
    return "" if value in (None, "") else f"`{value}`"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote the settings of {README.name}")
