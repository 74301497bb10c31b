"""What an answer used and cost, and what it says about itself, read from its JSON body or event by event.

Usage: `message_start` brings the input side, `message_delta` cumulative counts, so of two reports the later
one wins, key by key. A prompt is input + cache writes + cache reads. A cache write without its split by
lifetime is a five-minute one.

Cost: the rate card follows the whole prompt's length where there is a tier; `speed: fast` uses the fast
rates, and scales the cache rates with the input rate [I]; `inference_geo: us` multiplies by 1.1. It covers
tokens of the attempt that produced the message: web searches and the attempts of server-side fallbacks are
not in it. Prices are USD per million tokens, which is micro-dollars per token.

Reading is cheap where there is much to read: of the deltas only those are parsed that may bring the first
visible text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.types import parse_json

US_FACTOR = 1.1
"""What `inference_geo: us` costs."""

NOT_CONTENT = frozenset({"thinking", "redacted_thinking", "fallback"})
"""Blocks that carry nothing for the application's user."""


class RateCard(Protocol):
    """USD per million tokens."""

    @property
    def input(self) -> float: ...
    @property
    def output(self) -> float: ...
    @property
    def cache_write_5m(self) -> float: ...
    @property
    def cache_write_1h(self) -> float: ...
    @property
    def cache_read(self) -> float: ...
    @property
    def fast_input(self) -> float | None: ...
    @property
    def fast_output(self) -> float | None: ...


class LongRateCard(Protocol):
    """The rate card for prompts longer than a limit, for the whole request."""

    @property
    def above_prompt_tokens(self) -> int: ...
    @property
    def prices(self) -> RateCard: ...


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, by the rate that each is billed at."""

    input_tokens: int = 0
    """After the last cache breakpoint; not the whole prompt."""
    output_tokens: int = 0
    """Thinking included."""
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    thinking_tokens: int = 0
    """The part of `output_tokens` that was thinking, where the answer says so."""
    inference_geo: str | None = None
    speed: str | None = None

    @property
    def cache_write(self) -> int:
        """Tokens written to the cache, whatever their lifetime."""
        return self.cache_write_5m + self.cache_write_1h

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt."""
        return self.input_tokens + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class Answer:
    """What an upstream's answer says about itself."""

    model: str | None = None
    stop_reason: str | None = None
    usage: Usage = Usage()
    has_content: bool = False
    """Some text that is not blank, or any block but thinking."""
    finished: bool = False
    """`message_stop` was seen, or the JSON body is whole."""
    error_type: str | None = None
    """The upstream's own word, from an error body or an `error` event."""

    @property
    def refused(self) -> bool:
        """Whether the model declined."""
        return self.stop_reason == "refusal"


def usage_of(*reports: Mapping[str, Any]) -> Usage:
    """Return what these `usage` objects report together; of a key in several, the last one counts."""
    merged: dict[str, Any] = {}
    for report in reports:
        merged |= {key: value for key, value in report.items() if value is not None}
    split = _object(merged.get("cache_creation"))
    written = _count(merged.get("cache_creation_input_tokens"))
    # Without a split, or where a later total outgrew it, the rest is billed at the rate that is the default.
    one_hour = _count(split.get("ephemeral_1h_input_tokens"))
    five_minutes = max(_count(split.get("ephemeral_5m_input_tokens")), written - one_hour)
    return Usage(
        input_tokens=_count(merged.get("input_tokens")),
        output_tokens=_count(merged.get("output_tokens")),
        cache_read=_count(merged.get("cache_read_input_tokens")),
        cache_write_5m=five_minutes,
        cache_write_1h=one_hour,
        thinking_tokens=_count(_object(merged.get("output_tokens_details")).get("thinking_tokens")),
        inference_geo=_text(merged.get("inference_geo")),
        speed=_text(merged.get("speed")),
    )


def cost_microusd(
    usage: Usage, prices: RateCard | None, long_prices: LongRateCard | None = None
) -> int | None:
    """Return what `usage` costs in micro-dollars, or None where there is no price."""
    card = prices
    if long_prices is not None and usage.prompt_tokens > long_prices.above_prompt_tokens:
        card = long_prices.prices
    if card is None:
        return None
    input_rate, output_rate = card.input, card.output
    if usage.speed == "fast":
        input_rate, output_rate = card.fast_input or input_rate, card.fast_output or output_rate
    cache_factor = input_rate / card.input if card.input else 1.0
    cached = (
        usage.cache_write_5m * card.cache_write_5m
        + usage.cache_write_1h * card.cache_write_1h
        + usage.cache_read * card.cache_read
    )
    cost = usage.input_tokens * input_rate + usage.output_tokens * output_rate + cached * cache_factor
    return round(cost * US_FACTOR if usage.inference_geo == "us" else cost)


class AnswerReader:
    """Reads an answer, whole or event by event; what it cannot read it ignores."""

    __slots__ = ("_error_type", "_finished", "_has_content", "_model", "_reports", "_stop_reason")

    def __init__(self) -> None:
        self._model: str | None = None
        self._stop_reason: str | None = None
        self._reports: list[Mapping[str, Any]] = []
        self._has_content = False
        self._finished = False
        self._error_type: str | None = None

    @property
    def answer(self) -> Answer:
        """What was said so far."""
        return Answer(
            model=self._model,
            stop_reason=self._stop_reason,
            usage=usage_of(*self._reports),
            has_content=self._has_content,
            finished=self._finished,
            error_type=self._error_type,
        )

    @staticmethod
    def read_json(body: bytes) -> Answer:
        """Return what a whole JSON body says: a message, an error, or anything else that parses."""
        try:
            message = _object(parse_json(body))
        except ValueError:
            return Answer()
        if message.get("type") == "error":
            return Answer(finished=True, error_type=_text(_object(message.get("error")).get("type")))
        blocks = message.get("content")
        return Answer(
            model=_text(message.get("model")),
            stop_reason=_text(message.get("stop_reason")),
            usage=usage_of(_object(message.get("usage"))),
            has_content=isinstance(blocks, list) and any(_shows(_object(block)) for block in blocks),
            finished=True,
        )

    def event(self, name: str, data: bytes) -> None:
        """Take one event: its `event` field (empty: the type inside the data) and its data."""
        match name:
            case "content_block_delta":
                if not self._has_content and b'"text_delta"' in data:
                    self._has_content = _shows({"type": "text", **_object(_parsed(data).get("delta"))})
            case "message_stop":
                self._finished = True
            case "content_block_start" | "message_start" | "message_delta" | "error":
                self._read(name, _parsed(data))
            case "":
                if kind := _text(_parsed(data).get("type")):
                    self.event(kind, data)

    def _read(self, name: str, event: Mapping[str, Any]) -> None:
        if name == "content_block_start":
            self._has_content = self._has_content or _shows(_object(event.get("content_block")))
        elif name == "error":
            self._error_type = _text(_object(event.get("error")).get("type")) or "unknown"
        else:
            message = _object(event.get("message" if name == "message_start" else "delta"))
            self._model = _text(message.get("model")) or self._model
            self._stop_reason = _text(message.get("stop_reason")) or self._stop_reason
            self._reports.append(_object((message if name == "message_start" else event).get("usage")))


def _shows(block: Mapping[str, Any]) -> bool:
    """Tell whether a content block holds anything but thinking and blanks."""
    kind = block.get("type")
    if kind in ("text", "text_delta"):
        return bool((_text(block.get("text")) or "").strip())
    return kind is not None and kind not in NOT_CONTENT


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        return _object(parse_json(data))
    except ValueError:
        return {}


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
