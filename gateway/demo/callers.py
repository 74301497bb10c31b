"""Hundreds of users of five applications, who talk to the gateway as they would to the Messages API.

Each user belongs to one application and comes back with a new conversation in every round. A fixed number of
them talks at any moment, at a steady pace, so that a slower model means longer waits and not a longer queue.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from itertools import count

import httpx2

from gateway.compat.catalog import Catalogue
from gateway.core.sse import SseScanner
from gateway.core.types import Arm, to_json
from gateway.core.usage import cost_microusd
from gateway.demo.answers import Message, StreamReader, complaint, from_json
from gateway.demo.apps import Conversation, Template
from gateway.demo.tally import Seen
from gateway.tasks import Clock

AT_ONCE = 40
"""Conversations that run at the same time."""
PACE_S = 0.30
"""At least this long from one request of a conversation to its next."""
TIMEOUT_S = 30.0

_HEADERS = {"x-api-key": "demo", "anthropic-version": "2023-06-01", "content-type": "application/json"}


class Callers:
    """The users."""

    def __init__(
        self,
        url: str,
        templates: Sequence[Template],
        catalogue: Catalogue,
        clock: Clock,
        *,
        model: str,
        users: int,
        at_once: int = AT_ONCE,
        say: Callable[[Conversation], Mapping[str, str]] = lambda _: {},
    ) -> None:
        """`say` returns the headers that a conversation's requests have besides their own."""
        self._url = url
        self._say = say
        self._catalogue = catalogue
        self._clock = clock
        self._model = model
        self._users = users
        self._at_once = at_once
        self._applications = _by_application(templates)
        self._stopping = False

    async def talk(self, stage: Callable[[], str], report: Callable[[str, Seen], None]) -> None:
        """Send requests until `stop`; returns when the last answer is in.

        `stage` is asked as a request is sent, and its answer is reported with what came back.
        """
        limits = httpx2.Limits(max_connections=self._at_once, max_keepalive_connections=self._at_once)
        client = httpx2.AsyncClient(
            base_url=self._url, headers=_HEADERS, timeout=TIMEOUT_S, limits=limits, trust_env=False
        )
        async with client, asyncio.TaskGroup() as group:
            for first in range(self._at_once):
                group.create_task(self._come_and_go(client, first, stage, report), name=f"caller {first}")

    def stop(self) -> None:
        """Begin nothing new."""
        self._stopping = True

    async def _come_and_go(
        self,
        client: httpx2.AsyncClient,
        first: int,
        stage: Callable[[], str],
        report: Callable[[str, Seen], None],
    ) -> None:
        await asyncio.sleep(first * PACE_S / self._at_once)
        for number in count(first, self._at_once):
            conversation = self.conversation(number)
            goes_on = True
            while goes_on and not self._stopping:
                now, started = stage(), self._clock.monotonic()
                seen, goes_on = await self._ask(client, conversation)
                report(now, seen)
                await asyncio.sleep(max(0.0, PACE_S - (self._clock.monotonic() - started)))
            if self._stopping:
                return

    def conversation(self, number: int) -> Conversation:
        """Return the conversation with this number: everybody has one before anybody has two."""
        round_number, user_number = divmod(number, self._users)
        user = f"user-{user_number:04d}"
        templates = self._applications[user_number % len(self._applications)]
        draw = int.from_bytes(sha256(f"{user}/{round_number}".encode()).digest()[:4], "big")
        conversation = Conversation(
            templates[draw % len(templates)], user=user, number=round_number, model=self._model
        )
        conversation.headers.update(self._say(conversation))
        return conversation

    async def _ask(self, client: httpx2.AsyncClient, conversation: Conversation) -> tuple[Seen, bool]:
        """Send one request; return what came back and whether the conversation goes on."""
        started = self._clock.monotonic()
        try:
            status, headers, message = await _exchange(client, conversation)
        except httpx2.HTTPError as error:
            status, headers, message = 0, {}, Message(error=type(error).__name__)
        problem = complaint(conversation, status, message)
        took_s = self._clock.monotonic() - started
        seen = self._seen(conversation, headers, message, took_s=took_s, problem=problem)
        return seen, problem is None and conversation.go_on(message.content)

    def _seen(
        self,
        conversation: Conversation,
        headers: Mapping[str, str],
        message: Message,
        *,
        took_s: float,
        problem: str | None,
    ) -> Seen:
        model = self._catalogue.find(headers.get("x-gateway-served-model", ""))
        rewrites = headers.get("x-gateway-rewrites", "")
        return Seen(
            application=conversation.template.application,
            first=conversation.turn == 0,
            arm=Arm(headers.get("x-gateway-arm", Arm.control)),
            reason=headers.get("x-gateway-reason", ""),
            took_s=took_s,
            cost_microusd=cost_microusd(message.usage, model.prices, model.long_prices) if model else None,
            rewrites=tuple(
                part.partition("=")[0].strip()
                for part in rewrites.split(",")
                if part.strip() and not part.endswith("=X")
            ),
            fallback=headers.get("x-gateway-fallback"),
            complaint=problem,
            refused=message.stop_reason == "refusal",
            request_id=headers.get("x-gateway-request-id", ""),
        )


async def _exchange(
    client: httpx2.AsyncClient, conversation: Conversation
) -> tuple[int, Mapping[str, str], Message]:
    content = to_json(conversation.body)
    async with client.stream("POST", "/v1/messages", content=content, headers=conversation.headers) as answer:
        if answer.status_code != 200 or not conversation.streams:
            return answer.status_code, answer.headers, from_json(await answer.aread())
        reader, scanner = StreamReader(), SseScanner()
        async for chunk in answer.aiter_bytes():
            reader.take(scanner.feed(chunk))
        return answer.status_code, answer.headers, reader.message


def _by_application(templates: Sequence[Template]) -> list[list[Template]]:
    applications: dict[str, list[Template]] = {}
    for template in templates:
        applications.setdefault(template.application, []).append(template)
    return list(applications.values())
