"""One cell of the matrix: a feature on the way between two models, asked for real, and judged.

The source is asked without the gateway; what it says is what the application must not miss. Then the same is
asked through the gateway, as JSON, and for a share of the cells also as a stream and of count_tokens. What is
judged: the status, who served and why, that nothing fell back, the shape of the answer, and what was done.

Two models never answer in the same words. So where an answer ends (by itself, at a stop sequence, at
`max_tokens`) is their own affair; whether it is a call is not.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from gateway.compat.catalog import Model
from gateway.compat.explain.features import GROUPS
from gateway.compat.explain.matrix import AS_IS, WHOLE
from tests.support.answers import Json, text_of
from tests.support.deploy import ADMIN_TOKEN
from tests.support.every_way import COUNT, MESSAGES, Answer, Asking, Way, application, way_name
from tests.support.features import FEATURES, Feature, body_for, counting
from tests.support.written import Table

CHOSEN = ("bucket", "recorded", "pinned")
GRAVITY = "LEPX"
PLAIN_QUESTION = next(feature for feature in FEATURES if feature.name == "thinking omitted")
WITH_THE_PLAIN = frozenset(feature.name for title in WHOLE for feature in GROUPS[title])
"""Features whose letters hold what a plain question needs, too."""
OWN_AFFAIR = frozenset({"a tool removed on the way"})
"""Two tools are left to a model that is told of it in words, and one to the source; to the simulated models
that is the difference between an agent and none.
"""
_sessions = count()


@dataclass(frozen=True, slots=True)
class Cell:
    """One feature on one way."""

    way: Way
    feature: Feature
    shapes: tuple[str, ...] = ("json",)
    """How it is asked: `json`, `stream`, `count`; JSON always."""

    @property
    def name(self) -> str:
        return f"{way_name(self.way)}: {self.feature.name}"

    @property
    def key(self) -> tuple[str, str, str]:
        source, target = self.way
        return source.id, target.id, self.feature.name


@dataclass
class Judge:
    """Asks both servers, compares, and keeps what was seen."""

    gateway: Asking
    upstream: Asking
    done: dict[tuple[str, str, str], Mapping[str, str]] = field(default_factory=dict)
    """(source, target, feature) → rule → class, of what the source takes and the gateway answered."""
    wrong: list[str] = field(default_factory=list)
    """What should not have been, one sentence each."""
    _cells: dict[tuple[str, str, str], Cell] = field(default_factory=dict)
    _taken: dict[tuple[str, str, str], Answer] = field(default_factory=dict)

    async def look(self, cell: Cell) -> None:
        """Ask for one cell in all of its shapes."""
        source, _ = cell.way
        answers: dict[str, Answer] = {}
        for shape in cell.shapes:
            taken = await self._directly(source, cell.feature, shape)
            answers[shape] = answer = await self._through(cell, shape)
            self._complain(f"{cell.name} ({shape})", compared(cell, taken, answer, shape))
        if self._taken[source.id, cell.feature.name, "json"].status == 200 == answers["json"].status:
            self.done[cell.key], self._cells[cell.key] = answers["json"].rewrites, cell
            self._complain(cell.name, unlike(answers))

    async def letters(self, written: Table) -> Table:
        """Return the table as it was seen.

        A rule that a plain question needs as well, with the same class, hides what it does for the feature:
        there, and where the document has another letter, the gateway is asked for the sentences.
        """
        seen: Table = {}
        for key, done in self.done.items():
            source, target, feature = key
            plain = {} if feature in WITH_THE_PLAIN else self.done[source, target, PLAIN_QUESTION.name]
            seen[key] = letter([done[rule] for rule in done if plain.get(rule) != done[rule]])
            if plain and seen[key] != written.get(key, seen[key]):
                seen[key] = await self._letter_in_words(self._cells[key])
        return seen

    async def _letter_in_words(self, cell: Cell) -> str:
        own, plain = await self._preview(cell), await self._preview(Cell(cell.way, PLAIN_QUESTION))
        return letter([change["rewrite_class"] for change in own if change not in plain])

    async def _preview(self, cell: Cell) -> list[Json]:
        body = {
            "body": body_for(application(cell.way), cell.feature),
            "migration": way_name(cell.way),
            "betas": cell.feature.betas,
            "version": cell.feature.version,
        }
        answer = await self.gateway.ask(
            body, "/admin/compat/preview", authorization=f"Bearer {ADMIN_TOKEN}", x_api_key=""
        )
        assert answer.status == 200, answer.body
        changes: list[Json] = answer.json["changes"]
        return changes

    async def _directly(self, source: Model, feature: Feature, shape: str) -> Answer:
        """Ask the source itself, once for all ways from it."""
        key = (source.id, feature.name, shape)
        if key not in self._taken:
            self._taken[key] = await _ask(self.upstream, body_for(source.id, feature), feature, shape)
        return self._taken[key]

    async def _through(self, cell: Cell, shape: str) -> Answer:
        """Ask the gateway, each time in a conversation of its own, always as the same unit."""
        headers = {"x_gateway_unit": "tester", "x_claude_code_session_id": f"session-{next(_sessions)}"}
        body = body_for(application(cell.way), cell.feature)
        return await _ask(self.gateway, body, cell.feature, shape, **headers)

    def _complain(self, name: str, complaints: Iterator[str]) -> None:
        self.wrong += [f"{name}: {complaint}" for complaint in complaints]


async def _ask(server: Asking, body: Json, feature: Feature, shape: str, **headers: str) -> Answer:
    headers |= {"anthropic_version": feature.version, "anthropic_beta": ",".join(feature.betas)}
    if shape == "count":
        return await server.ask(counting(body), COUNT, **headers)
    return await server.ask({**body, "stream": True} if shape == "stream" else body, MESSAGES, **headers)


def compared(cell: Cell, taken: Answer, answer: Answer, shape: str) -> Iterator[str]:
    """Say what control would not have done."""
    if taken.status != 200:
        if answer.status != 200 and (answer.status, error_of(answer)) != (taken.status, error_of(taken)):
            yield f"refused with {error_of(answer)} instead of {error_of(taken)}"
        return
    if answer.status != 200:
        yield f"{answer.status} {error_of(answer)}"
        return
    told = {name.removeprefix("x-gateway-"): value for name, value in answer.headers.items()}
    if "fallback" in told:
        yield f"fell back: {told['fallback']}"
    source, target = cell.way
    kept_back = "X" in answer.rewrites.values()
    expected = (source.id, "control") if kept_back else (target.id, "candidate")
    reasons = ("unservable",) if kept_back else CHOSEN
    if (told["served-model"], told["arm"]) != expected or told["reason"] not in reasons:
        yield f"{told['arm']} {told['served-model']} served it: {told['reason']}"
    if shape == "count":
        if not answer.json["input_tokens"] > 0:
            yield "counted nothing"
    else:
        yield from shown(cell, taken.message, answer, expected[0])


def shown(cell: Cell, taken: Json, answer: Answer, model: str) -> Iterator[str]:
    """Say what an application that knows the source's answer would stumble over."""
    message, feature = answer.message, cell.feature
    if message["model"] != model:
        yield f"names {message['model']}"
    had, has = _kinds(taken), _kinds(message)
    if "thinking" in has and "thinking" not in had:
        yield "shows thinking that nobody asked for"
    elif "thinking" in has and "display" not in answer.rewrites and _readable(taken) != _readable(message):
        yield "shows another share of its thinking"
    if feature.name in OWN_AFFAIR:
        return
    cut = "max_tokens" in (taken["stop_reason"], message["stop_reason"])
    if _said(had) != _said(has) and not cut:
        yield f"has {has} instead of {had}"
    if (taken["stop_reason"] == "tool_use") != (message["stop_reason"] == "tool_use"):
        yield f"stops for {message['stop_reason']} instead of {taken['stop_reason']}"
    begun = prefill_of(feature)
    if begun and not cut and _is_json(begun + text_of(taken)) and not _is_json(begun + text_of(message)):
        yield f"does not go on from {begun!r}: {text_of(message)[:60]!r}"


def unlike(answers: Mapping[str, Answer]) -> Iterator[str]:
    """Say where a stream, or a count, differs from the JSON answer of the same cell."""
    whole, stream = answers["json"], answers.get("stream")
    if stream is None or stream.status != 200:
        return
    if stream.rewrites != whole.rewrites:
        yield f"rewritten as {stream.rewrites} for a stream and as {whole.rewrites} without"
    told, message = stream.message, whole.message
    if (_without_ids(told), told["stop_reason"]) != (_without_ids(message), message["stop_reason"]):
        yield "streams another message"


def letter(classes: list[str]) -> str:
    """Return the letter of a cell: the gravest class of what is done."""
    return max(classes, key=GRAVITY.index) if classes else AS_IS


def error_of(answer: Answer) -> tuple[str, str]:
    """Return the type and the words of an error."""
    error = answer.json["error"]
    return error["type"], error["message"]


def prefill_of(feature: Feature) -> str:
    """Return the beginning that a request gives its answer; empty where there is none."""
    last = feature.fields.get("messages", [{"role": "user"}])[-1]
    if last["role"] != "assistant":
        return ""
    content = last["content"]
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


def _kinds(message: Json) -> list[str]:
    return [block["type"] for block in message["content"]]


def _said(kinds: list[str]) -> list[str]:
    return [kind for kind in kinds if kind != "thinking"]


def _readable(message: Json) -> bool:
    return any(block["type"] == "thinking" and block["thinking"] for block in message["content"])


def _without_ids(message: Json) -> list[Json]:
    """Return the blocks; an id that somebody made up is another each time."""
    return [{**block, "id": "", "signature": ""} for block in message["content"]]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
