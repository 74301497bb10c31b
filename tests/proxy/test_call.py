"""The plane counts what it is answering."""

from dataclasses import fields

from gateway.proxy.call import Limits, Plane
from tests.support.plane import data_path


async def test_what_is_being_answered_is_counted_for_the_fleet_and_for_the_page() -> None:
    async with data_path("http://127.0.0.1:9") as process:
        process.plane.entered()
        process.plane.entered()
        process.plane.left()
        assert process.plane.in_flight == 1
        assert process.metrics()["gateway_in_flight"] == 1


def test_the_defaults_are_those_of_the_interface() -> None:
    assert (Limits().body_bytes, Limits().ping_after_s) == (32 << 20, 15.0)
    defaults = {field.name: field.default for field in fields(Plane)}
    assert defaults["pin_ttl_s"] == 3600
    assert defaults["upstream_api_key"] is None


async def test_without_a_gatekeeper_nobody_is_an_operator() -> None:
    async with data_path("http://127.0.0.1:9") as process:
        assert not process.plane.is_operator("")
