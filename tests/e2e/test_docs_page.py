"""The documentation pages need no other host."""

import re

import pytest

from tests.e2e.conftest import Server


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_everything_the_page_loads_comes_from_this_server(server: Server, page: str) -> None:
    with server.client() as client:
        html = client.get(page).text
        loaded = re.findall(r'<(?:script|link)[^>]*(?:src|href)="([^"]+)"', html)
        assert loaded
        assert not [address for address in loaded if not address.startswith("/")]
        assert {client.get(address).status_code for address in loaded} == {200}
