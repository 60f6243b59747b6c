"""FastAPI runs dependencies that are plain functions in a thread, one after another: time that every request pays."""

from collections.abc import Iterator
from inspect import iscoroutinefunction
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from app import api


def dependants(dependant: Dependant) -> Iterator[Any]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from dependants(inner)


def test_no_dependency_takes_a_detour_through_a_thread() -> None:
    routes = [route for router in (*api.OPEN, *api.KEYED) for route in router.routes if isinstance(route, APIRoute)]
    calls = {call for route in routes for call in dependants(route.dependant)}
    assert calls
    assert all(iscoroutinefunction(call) for call in calls), calls
