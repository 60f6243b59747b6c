"""Requests generated from openapi.json: no answer is a bug of ours, and each is as the document says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.e2e.conftest import REPO, Server
from tests.pictures import png

pytestmark = pytest.mark.e2e

schema = schemathesis.openapi.from_path(REPO / "openapi.json")
# Half of the files are pictures, so that the answers to good requests are seen too.
schemathesis.openapi.format("binary", st.just(png()) | st.binary(max_size=100))

CHECKS = [
    checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_documented(server: Server, case: schemathesis.Case) -> None:
    response = case.call(base_url=server.url, timeout=60)
    case.validate_response(response, checks=CHECKS)
