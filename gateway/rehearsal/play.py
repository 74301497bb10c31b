"""A whole rehearsal: the servers, the callers, and everything that is to go wrong, in order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.compat.catalog import Catalogue
from gateway.core.spec import MigrationSpec
from gateway.core.types import fingerprint
from gateway.demo.apps import Conversation, load_templates
from gateway.demo.callers import Callers
from gateway.demo.world import World
from gateway.rehearsal.failures import Failure
from gateway.rehearsal.report import Report, Result
from gateway.rehearsal.scale import EXTRACTION, USERS, Copy, accelerated
from gateway.rehearsal.stage import Player
from gateway.tasks import Clock

SPEED = 40.0
"""How much faster than a model the simulator answers: what models differ in is not to decide here."""
AT_ONCE = 60
"""Conversations that run at the same time."""
LISTED_OF = 25
"""One user in so many stands for people on a list."""


@dataclass(frozen=True, slots=True)
class Played:
    """What is rehearsed, and with what."""

    spec: MigrationSpec
    catalogue: Catalogue
    catalogue_file: Path
    traffic: Path
    """The folder of what the applications ask."""


async def rehearse(
    played: Played, clock: Clock, *, healthy: bool, failures: tuple[Failure, ...], tell: Callable[[str], None]
) -> Report:
    """Rehearse a migration; raises GatewayError where that cannot be done. `tell` hears what happens."""
    copy, started = accelerated(played.spec, price_ratio=price_ratio(played)), clock.monotonic()
    templates = load_templates(played.traffic)

    def callers() -> Callers:
        return Callers(
            world.url,
            templates,
            played.catalogue,
            clock,
            model=copy.spec.models[0],
            users=USERS,
            at_once=AT_ONCE,
            say=lambda conversation: said(conversation, copy),
        )

    results: list[Result] = []
    tell("starting a simulated Messages API and a gateway in front of it")
    async with World((copy.spec,), played.catalogue_file, clock, speed=SPEED) as world:
        player = Player(copy.spec, world, clock, callers=callers)
        if healthy:
            tell("healthy: a good candidate is started and left alone")
            results.append(await player.climb())
        for failure in failures:
            tell(f"{failure.name}: {failure.in_words(copy.spec)}")
            results.append(await player.fail(failure))
    return Report(
        migration=played.spec.name,
        fingerprint=fingerprint(played.spec),
        changes=copy.changes,
        results=tuple(results),
        took_s=clock.monotonic() - started,
    )


def price_ratio(played: Played) -> float:
    """Return what the candidate's output costs, as a multiple of control's; 1 where that is not known."""
    rows = (played.catalogue.find(model) for model in (played.spec.control, played.spec.candidate))
    control, candidate = (row.prices.output if row and row.prices else 0.0 for row in rows)
    return candidate / control if control and candidate else 1.0


def said(conversation: Conversation, copy: Copy) -> Mapping[str, str]:
    """Return what a conversation says of itself besides what its application says anyway.

    Everybody has a key of their own, for migrations that assign by key.
    """
    headers = {"x-api-key": f"rehearsal-{conversation.user}"}
    if "header" in copy.spec.unit and not {*copy.spec.unit} & {"user", "session", "conversation", "api_key"}:
        headers["x-gateway-unit"] = conversation.user
    if conversation.template.application == EXTRACTION:
        headers["x-gateway-task"] = copy.json_task
    elif copy.internal_task and int(conversation.user.rpartition("-")[2]) % LISTED_OF == 0:
        headers["x-gateway-task"] = copy.internal_task
    return headers


def partly(report: Report) -> Report:
    """Return the report of a rehearsal that left something out."""
    return replace(report, whole=False)
