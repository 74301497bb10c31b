"""Both gateways are replaced under load, as the guide says, and nobody who talks to them notices."""

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.deploy import eventually
from tests.support.held import Crowd, Upstream
from tests.support.scripted import scripted_upstream
from tests.support.stack import Stack, stack

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(400)]

HELD = 200
PER_SECOND = 50
GATEWAYS = ("gateway-1", "gateway-2")
ENDED = re.compile(
    r" gateways/gateway-\d \S+ (\d+) \d+ - - (\S{4}) (?:\d+/){4}(\+?\d+) \S+ .POST /v1/messages "
)
"""A line of the load balancer's log: status, how the exchange ended, attempts beyond the first."""


def replace(fleet: Stack, name: str) -> None:
    """What the guide's loop does with one gateway: `docker compose up --wait`, then wait for the load
    balancer."""
    assert fleet.metric(name, "gateway_in_flight") > HELD / 5, "the streams are held by both"
    assert fleet.stop(name, within_s=120) == 0
    fleet.start(name)
    eventually(lambda: fleet.healthy(name), within_s=60, every_s=0.5)
    fleet.until_used(2)


async def test_a_rolling_restart_fails_no_request_and_cuts_no_stream(tree: Path, tmp_path: Path) -> None:
    upstream = Upstream()
    services = ("redis", *GATEWAYS, "loadbalancer")
    async with scripted_upstream(upstream) as where:
        running = stack(tree, tmp_path, *services, GATEWAY_UPSTREAM_URL=where.url)
        fleet = await asyncio.to_thread(running.__enter__)
        try:
            for verb in (("start", "--force"), ("set-weight", "50")):
                said = await asyncio.to_thread(
                    fleet.run_in, "gateway-1", "gateway", "migration", *verb, "--reason", "rehearsal"
                )
                assert said.returncode == 0, said.stderr
            crowd = Crowd(fleet.url("loadbalancer:8080"))
            await crowd.gather(streams=HELD, per_second=PER_SECOND)
            for name in GATEWAYS:
                await asyncio.to_thread(replace, fleet, name)
            await crowd.disperse()
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
    assert crowd.problems == []
    assert crowd.streamed >= 2 * HELD
    assert crowd.asked >= 0.9 * PER_SECOND * crowd.lasted_s
    # Nothing was sent twice, neither by the crowd's client nor by the load balancer.
    assert crowd.attempts == crowd.asked + crowd.streamed == upstream.asked
    # And nobody had to try elsewhere: no gateway was asked for a connection that it did not accept.
    ends = Counter(ENDED.findall(fleet.log("loadbalancer")))
    assert ends == {("200", "----", "0"): upstream.asked}
