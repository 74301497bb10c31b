"""POST /v1/messages and count_tokens: judge a request, then answer it, or fail at it if a fault says so.

A model that declines may be followed by another (`fallbacks`); then a token is looked at, or given
(`credits`), and a thread goes on (`threads`).

Faults that keep a request from being looked at strike once its model is known and before the rules; those
that spoil an answer need one, so a request that breaks a rule gets its 400 whatever faults there are.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

from gateway.compat.catalog import Catalogue
from gateway.core.types import to_json
from gateway.errors import ConfigError
from gateway.simulator import credits
from gateway.simulator.exchange import Exchange
from gateway.simulator.fallbacks import Attempt, Stickiness, chain, hands_over, joined
from gateway.simulator.faults import Fault, FaultPlan, Strike, parse_fault
from gateway.simulator.replies import events, refusals, spoilt
from gateway.simulator.replies.cache import PromptCache, PromptUse, has_breakpoint, scope_of
from gateway.simulator.replies.compose import compose
from gateway.simulator.replies.intent import tool_line
from gateway.simulator.replies.profiles import Profile, profile_of
from gateway.simulator.replies.reply import EMPTY, Reply
from gateway.simulator.replies.tokens import count_prompt
from gateway.simulator.rules.bindings.shown import shown_body
from gateway.simulator.rules.case import (
    MAX_BODY_BYTES,
    ApiError,
    Case,
    Head,
    Json,
    end_user_of,
    find_model,
    read_body,
    whole_numbers,
)
from gateway.simulator.rules.judge import check
from gateway.simulator.rules.switches import Habit, read_switches
from gateway.simulator.rules.turns import blocks_of
from gateway.simulator.threads import Threads
from gateway.tasks import Clock

MAX_LINES = 10_000
SPOILT_AFTER_DELTAS = 3
"""How much of a stream arrives before it fails."""

FAULT_HEADER = "x-simulator-fault"
PREFILL_HEADER = "x-simulator-prefill"
SWITCHES_HEADER = "x-simulator-switches"
EVENT_STREAM = "text/event-stream; charset=utf-8"


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
    opened: Case | None = None
    """The request as it was when the answer began, if another model ended it."""
    declined: int = 0
    """How many models had declined before the first word."""

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
        *,
        speed: float,
        refusals: float,
    ) -> None:
        self._catalogue = catalogue
        self._plan = plan
        self._clock = clock
        self._latency_factor = 1 / speed if speed > 0 else 0.0
        self._refusals = refusals
        self._cache = PromptCache()
        self._threads = Threads()
        self._sticky = Stickiness()
        self._lines = ToolLines()
        self._profiles: dict[str, Profile] = {model.id: profile_of(model) for model in catalogue.models}
        self._answers = 0

    async def create(self, exchange: Exchange, head: Head) -> None:
        """Answer POST /v1/messages."""
        body, strike = await self._open(exchange)
        now, head = self._clock.now(), _switched(exchange, head)
        with self._threads.held(body, head, now) as whole:
            case = self._case(whole, head)
            answer = self._answer(case, strike, _habit(exchange), now)
            self._threads.keep(case, answer.reply, answer.message_id, now)
            pace = self._pace(answer, strike)
            send = _stream if body.get("stream") else _whole
            await send(exchange, answer, pace, strike.kind)

    async def count(self, exchange: Exchange, head: Head) -> None:
        """Answer POST /v1/messages/count_tokens: the same rules, and the prompt's tokens."""
        body, _ = await self._open(exchange)
        case = self._case(body, _switched(exchange, head), counting=True)
        await exchange.answer_json({"input_tokens": check(case, lambda: _tokens(case))})

    def batched(self, params: Json, head: Head) -> Json:
        """The message for one item of a batch; raises ApiError."""
        if params.get("stream"):
            raise ApiError(400, "stream: streaming is not supported in batches")
        case = self._case(params, head, batched=True)
        return self._answer(case, Strike(), None, self._clock.now()).message

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
        switches = head.switches
        return Case(
            whole_numbers(body),
            find_model(body, self._catalogue, switches),
            head.version,
            head.betas,
            switches,
            counting,
            batched,
            account=head.account,
            workspace=head.workspace,
            end_user=end_user_of(body, head.profile, switches),
            catalogue=self._catalogue,
        )

    def _answer(self, case: Case, strike: Strike, habit: Habit | None, now: float) -> Answer:
        tokens = check(case, lambda: _tokens(case))
        self._answers += 1
        digest = hashlib.sha256(f"{self._answers} {now}".encode()).hexdigest()
        message_id = f"msg_01{digest[:22]}"
        if strike.kind in ("empty", "refusal"):
            reply = EMPTY if strike.kind == "empty" else refusals.refusal(case, digest.encode())
            reply = credits.redeemed(case, credits.offered(case, reply, now), now)
            return Answer(case, reply, self._use(case, tokens, now), message_id)
        attempts = self._attempts(case, tokens, habit, now)
        last, first = attempts[-1], attempts[0]
        last = replace(last, reply=_spoilt(last.case, last.reply, strike.fault))
        attempts[-1] = last
        reply = last.reply
        if case.body.get("fallbacks") is not None:
            reply = joined(case.body["model"], attempts, started_at=case.model.id)
        reply = credits.redeemed(case, credits.offered(last.case, reply, now), now)
        said_before = any(one.reply.content for one in attempts[:-1])
        opened = first.case if said_before else None
        declined = 0 if said_before else len(attempts) - 1
        return Answer(last.case, reply, last.use, message_id, opened, declined)

    def _attempts(self, case: Case, tokens: int, habit: Habit | None, now: float) -> list[Attempt]:
        """The answers of one model after the other, up to one that does not decline."""
        line = [case]
        if case.body.get("fallbacks") is not None:
            line += chain(case)
            stays = self._sticky.served_by(case, now)
            line = next((line[n:] for n, one in enumerate(line) if one.model.id == stays), line)
        attempts: list[Attempt] = []
        for one in line:
            prompt = tokens if one is case else _tokens(one)
            use = self._use(one, prompt, now)
            attempts.append(Attempt(one, self._compose(one, prompt, habit), use))
            if not hands_over(one, attempts[-1].reply):
                break
        if attempts[-1].case is not case and attempts[-1].reply.stop_reason != "refusal":
            self._sticky.keep(case, attempts[-1].case.model.id, now)
        return attempts

    def _compose(self, case: Case, tokens: int, habit: Habit | None) -> Reply:
        return compose(
            case,
            self._profiles[case.model.id],
            prompt_tokens=tokens,
            habit=habit or case.switches.prefill_reply,
            refusal_scale=self._refusals,
            obeys=self._lines.obeyed(case),
        )

    def _use(self, case: Case, tokens: int, now: float) -> PromptUse:
        body = shown_body(case)
        if not has_breakpoint(body):
            return PromptUse(tokens)
        wait_s = self._profiles[case.model.id].first_token_ms * self._latency_factor / 1000
        return self._cache.use(body, case.model, now, scope=scope_of(case), readable_in_s=wait_s)

    def _pace(self, answer: Answer, strike: Strike) -> Pace:
        profile, factor = self._profiles[answer.case.model.id], self._latency_factor
        waits = 1 + answer.declined
        return Pace(
            (profile.first_token_ms * factor * waits + strike.first_token_ms) / 1000,
            (profile.per_token_ms * factor + strike.per_token_ms) / 1000,
        )


class ToolLines:
    """How often the models were told in words to call a tool (`Switches.obeys_tool_line`)."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, int] = OrderedDict()

    def obeyed(self, case: Case) -> bool:
        """Whether a model heeds what it is told this time."""
        switch = case.switches.obeys_tool_line
        if switch != "second":
            return switch == "always"
        if not tool_line(case):
            return True
        # By how the conversation began, so that a second attempt may say more than the first.
        began = [case.account, case.model.id, blocks_of(case.messages[0])[:1]]
        key = hashlib.sha256(to_json(began)).hexdigest()
        times = self._told[key] = self._told.get(key, 0) + 1
        self._told.move_to_end(key)
        if len(self._told) > MAX_LINES:
            self._told.popitem(last=False)
        return times % 2 == 0


def _spoilt(case: Case, reply: Reply, fault: Fault | None) -> Reply:
    """What a fault of quality makes of an answer."""
    match fault.kind if fault else "":
        case "bad_json":
            return spoilt.broken_json(case, reply)
        case "bad_tool_input":
            return spoilt.bad_tool_input(case, reply)
        case "verbose" if fault:
            return spoilt.verbose(case, reply, fault.factor)
    return reply


def _tokens(case: Case) -> int:
    return count_prompt(shown_body(case), case.model)


def _switched(exchange: Exchange, head: Head) -> Head:
    """The head with the switches that the request brings along."""
    spec = exchange.header.get(SWITCHES_HEADER)
    try:
        return replace(head, switches=read_switches(spec, head.switches)) if spec else head
    except ConfigError as error:
        raise ApiError(400, error.message) from error


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
    for step in _events(answer):
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


def _events(answer: Answer) -> Iterator[events.Step]:
    return events.stream(answer.case, answer.reply, answer.message_id, answer.use, opened=answer.opened)


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
