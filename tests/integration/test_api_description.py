"""The server does what its OpenAPI description says, for what it allows and for what it does not."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tasks.api.app import create_app

EXAMPLES = 6
"""Requests of each kind (allowed, not allowed) and route; `derandomize` makes them the same every time."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = [
    operation.ok()
    for operation in schemathesis.openapi.from_dict(
        create_app(keys_required=False).openapi()
    ).get_all_operations()
]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_the_server_keeps_to_its_description(api_server, database, operation, mode):
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(case):
        case.call_and_validate(base_url=api_server.url, checks=CHECKS)

    try:
        check()
    except Unsatisfiable:
        pytest.skip("the route takes nothing that could be wrong")
