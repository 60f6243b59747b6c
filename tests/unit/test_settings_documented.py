"""Every setting is described, and README.md describes each as the code does."""

import pytest

from app.settings import Settings
from scripts.settings_table import BEGIN, README, settings_table, with_table


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_description(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


def test_readme_lists_every_setting() -> None:
    readme = README.read_text(encoding="utf-8")
    assert all(f"| `{name.upper()}` |" in settings_table() for name in Settings.model_fields)
    assert settings_table() in readme, "run `make settings`"


def test_the_table_of_a_readme_is_replaced() -> None:
    readme = README.read_text(encoding="utf-8")
    stale = readme.replace(settings_table(), "stale\n")
    assert with_table(stale) == readme
    with pytest.raises(ValueError, match="lacks"):
        with_table(readme.replace(BEGIN, ""))


def test_an_empty_variable_leaves_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("API_KEY", "MODEL_NAME", "PORT"):
        monkeypatch.setenv(variable, "")
    settings = Settings(_env_file=None)
    assert settings.api_key is None
    assert settings.model_name is None
    assert settings.port == Settings.model_fields["port"].default
