"""POST /v1/messages and count_tokens: judge a request, then answer it, or fail at it if a fault says so.

Faults that keep a request from being looked at strike once its model is known and before the rules; those
that spoil an answer need one, so a request that breaks a rule gets its 400 whatever faults there are.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import get_args

from gateway.compat.catalog import Catalogue
from gateway.core.types import to_json
from gateway.errors import ConfigError
from gateway.simulator.exchange import Exchange
from gateway.simulator.faults import Fault, FaultPlan, Strike, parse_fault
from gateway.simulator.replies import events
from gateway.simulator.replies.compose import EMPTY, Reply, compose, refusal
from gateway.simulator.replies.profiles import Profile, profile_of
from gateway.simulator.replies.tokens import PromptCache, PromptUse, count_prompt
from gateway.simulator.rules.case import (
    MAX_BODY_BYTES,
    ApiError,
    Case,
    Habit,
    Json,
    Switches,
    find_model,
    read_body,
    whole_numbers,
)
from gateway.simulator.rules.judge import check
from gateway.simulator.threads import Threads
from gateway.tasks import Clock

SPOILT_AFTER_DELTAS = 3
"""How much of a stream arrives before it fails."""

FAULT_HEADER = "x-simulator-fault"
PREFILL_HEADER = "x-simulator-prefill"
EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers said that concerns the rules."""

    version: str
    betas: frozenset[str]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast an answer comes."""

    first_token_s: float
    per_token_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A request that was accepted, and what is said to it."""

    case: Case
    reply: Reply
    use: PromptUse
    message_id: str

    @property
    def message(self) -> Json:
        return events.message(self.case, self.reply, self.message_id, self.use)


class Messages:
    """The models at work."""

    def __init__(
        self,
        catalogue: Catalogue,
        plan: FaultPlan,
        clock: Clock,
        switches: Switches,
        *,
        speed: float,
        refusals: float,
    ) -> None:
        self._catalogue = catalogue
        self._plan = plan
        self._clock = clock
        self._switches = switches
        self._latency_factor = 1 / speed if speed > 0 else 0.0
        self._refusals = refusals
        self._cache = PromptCache()
        self._threads = Threads()
        self._profiles: dict[str, Profile] = {model.id: profile_of(model) for model in catalogue.models}
        self._answers = 0

    async def create(self, exchange: Exchange, head: Head) -> None:
        """Answer POST /v1/messages."""
        body, strike = await self._open(exchange)
        now = self._clock.now()
        case = self._case(self._threads.whole(body, head.betas, now), head)
        answer = self._answer(case, strike, _habit(exchange))
        self._threads.keep(case, answer.reply, answer.message_id, now)
        pace = self._pace(answer.case, strike)
        send = _stream if body.get("stream") else _whole
        await send(exchange, answer, pace, strike.kind)

    async def count(self, exchange: Exchange, head: Head) -> None:
        """Answer POST /v1/messages/count_tokens: the same rules, and the prompt's tokens."""
        body, _ = await self._open(exchange)
        case = self._case(body, head, counting=True)
        await exchange.answer_json({"input_tokens": check(case, lambda: count_prompt(body, case.model))})

    def batched(self, params: Json, head: Head) -> Json:
        """The message for one item of a batch; raises ApiError."""
        if params.get("stream"):
            raise ApiError(400, "stream: streaming is not supported in batches")
        return self._answer(self._case(params, head, batched=True), Strike(), None).message

    async def _open(self, exchange: Exchange) -> tuple[Json, Strike]:
        """Read the body and let what goes wrong before the rules go wrong."""
        body = read_body(await exchange.body(MAX_BODY_BYTES), exchange.header.get("content-encoding", ""))
        requested = body.get("model")
        ids: frozenset[str] = frozenset()
        if isinstance(requested, str):
            exchange.entry.model = requested
            model = self._catalogue.find(requested)
            ids = frozenset({requested, *((model.id, *model.aliases) if model else ())})
        strike = self._plan.draw(exchange.path, ids, _faults_asked_for(exchange))
        await suffer(exchange, strike, str(requested))
        return body, strike

    def _case(self, body: Json, head: Head, *, counting: bool = False, batched: bool = False) -> Case:
        model = find_model(body, self._catalogue, self._switches)
        return Case(whole_numbers(body), model, head.version, head.betas, self._switches, counting, batched)

    def _answer(self, case: Case, strike: Strike, habit: Habit | None) -> Answer:
        tokens = check(case, lambda: count_prompt(case.body, case.model))
        use = self._cache.use(case.body, case.model, self._clock.now())
        self._answers += 1
        digest = hashlib.sha256(f"{self._answers} {self._clock.now()}".encode()).hexdigest()
        if strike.kind == "empty":
            reply = EMPTY
        elif strike.kind == "refusal":
            reply = refusal(digest.encode())
        else:
            reply = compose(
                case,
                self._profiles[case.model.id],
                prompt_tokens=tokens,
                habit=habit or self._switches.prefill_reply,
                refusal_scale=self._refusals,
            )
        return Answer(case, reply, use, f"msg_01{digest[:22]}")

    def _pace(self, case: Case, strike: Strike) -> Pace:
        profile, factor = self._profiles[case.model.id], self._latency_factor
        return Pace(
            (profile.first_token_ms * factor + strike.first_token_ms) / 1000,
            (profile.per_token_ms * factor + strike.per_token_ms) / 1000,
        )


async def suffer(exchange: Exchange, strike: Strike, requested: str) -> None:
    """Let a fault strike that leaves nothing to answer; the others wait for the answer that they spoil."""
    exchange.entry.fault = strike.kind
    match strike.kind:
        case "timeout":
            await exchange.until_left()
        case "connect":
            await exchange.hang_up()
        case "overloaded":
            raise ApiError(529, "Overloaded")
        case "server_error":
            raise ApiError(500, "Internal server error")
        case "bad_request":
            raise ApiError(400, "simulated fault: bad_request")
        case "retired":
            raise ApiError(404, f"model: {requested}")
        case "rate_limited" if strike.fault:
            seconds = max(1, math.ceil(strike.fault.milliseconds / 1000))
            message = "This request would exceed the rate limit for your organization."
            raise ApiError(429, message, headers=(("retry-after", str(seconds)),))


async def _whole(exchange: Exchange, answer: Answer, pace: Pace, fault: str) -> None:
    await exchange.pause(pace.first_token_s + answer.reply.output_tokens * pace.per_token_s)
    if fault == "first_event_error":
        raise ApiError(529, "Overloaded")
    if fault == "stream_error":
        raise ApiError(500, "Internal server error")
    body = to_json(answer.message)
    if fault != "cut":
        await exchange.answer(200, body, "application/json")
        return
    await exchange.start(200, "application/json", length=len(body))
    await exchange.write(body[: len(body) // 2])
    await exchange.hang_up()


async def _stream(exchange: Exchange, answer: Answer, pace: Pace, fault: str) -> None:
    await exchange.pause(pace.first_token_s)
    await exchange.start(200, EVENT_STREAM, (("cache-control", "no-cache"),))
    if fault == "first_event_error":
        await exchange.write(_error_event(exchange), last=True)
        return
    deltas = 0
    for step in events.stream(answer.case, answer.reply, answer.message_id, answer.use):
        if deltas == SPOILT_AFTER_DELTAS or step.name == "message_delta":
            if fault == "stream_error":
                await exchange.write(_error_event(exchange), last=True)
                return
            if fault == "cut":
                await exchange.hang_up()
        await exchange.pause(step.tokens * pace.per_token_s)
        await exchange.write(step.data)
        deltas += step.name == "content_block_delta"
    await exchange.write(b"", last=True)


def _error_event(exchange: Exchange) -> bytes:
    envelope = exchange.envelope(ApiError(529, "Overloaded"))
    return events.event("error", {key: value for key, value in envelope.items() if key != "type"})


def _faults_asked_for(exchange: Exchange) -> tuple[Fault, ...]:
    spec = exchange.header.get(FAULT_HEADER)
    try:
        return (parse_fault(spec),) if spec else ()
    except ConfigError as error:
        raise ApiError(400, error.message) from error


def _habit(exchange: Exchange) -> Habit | None:
    asked = exchange.header.get(PREFILL_HEADER)
    if asked is None:
        return None
    for habit in get_args(Habit):
        if asked == habit:
            return habit  # type: ignore[no-any-return]
    raise ApiError(400, f"{PREFILL_HEADER}: Input should be one of {', '.join(get_args(Habit))}")
