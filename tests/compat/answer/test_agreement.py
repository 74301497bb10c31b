"""Streams and JSON bodies are restored to the same answer, whatever the answer and whatever the plan."""

import json
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.compat.answer.kept import Kept
from gateway.compat.answer.plan import AnswerPlan, ForcedCall
from gateway.compat.answer.response import restore
from gateway.compat.answer.shape import is_object
from gateway.compat.answer.stream import StreamRestorer
from gateway.compat.rules.prefill import intent_of
from gateway.core.sse import SseScanner
from tests.compat.answer.test_response import REDACTED, answer, text
from tests.compat.answer.test_stream import PING, Json, content_of, events, restored, stream_of

TEXTS = st.lists(
    st.sampled_from(
        ["{", "}", '"a"', ": 1", "[", "]", ",", " ", "\n", "```json\n", "```", "Answer:", "yes", "☃"]
    ),
    max_size=6,
).map("".join)
BLOCKS = st.one_of(
    TEXTS.map(text),
    st.builds(lambda said: {"type": "thinking", "thinking": said, "signature": "sig"}, TEXTS),
    st.just(REDACTED),
    st.builds(
        lambda name, number: {"type": "tool_use", "id": f"t{number}", "name": name, "input": {"n": number}},
        st.sampled_from(["look", "listen"]),
        st.integers(0, 3),
    ),
    st.just({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
    st.just({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
    st.just({"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}),
)
STOPS = st.sampled_from(
    ["end_turn", "tool_use", "max_tokens", "refusal", "pause_turn", "model_context_window_exceeded"]
)
PREFILLS = st.sampled_from(["", "{", "[", '{"a"', "Answer:", "```json\n", "yes "])
PLANS = st.builds(
    lambda prefill, forced, **rest: AnswerPlan(
        prefill="" if forced is not None and forced.wrapped else prefill,
        intent=intent_of(prefill),
        forced=forced,
        **rest,
    ),
    PREFILLS,
    st.sampled_from([None, ForcedCall(), ForcedCall("look"), ForcedCall("look", wrapped=True)]),
    hides_thinking=st.booleans(),
    shows_notes=st.booleans(),
    continued=st.booleans(),
    quoted=st.sampled_from(["", "yes"]),
    tool_names=st.sampled_from([(), (("look", "see"),)]),
    classic_stops=st.booleans(),
    shown_model=st.sampled_from(["", "asked"]),
    repeats=st.booleans(),
)


def stopping(content: list[Json], stop: str, size: int) -> bytes:
    return stream_of(content, size).replace(b'"end_turn"', json.dumps(stop).encode())


def kept_as_json(kept: Kept | None) -> Any:
    if kept is None:
        return None
    shown = [json.loads(bytes(raw)) for raw in kept.shown]
    hidden = [(at, json.loads(bytes(raw))) for at, raw in kept.hidden]
    content = json.loads(bytes(kept.content)) if kept.content is not None else None
    return (shown, kept.stop_reason, kept.prefill, kept.continued, hidden, content, kept.call)


def read_stream(stream: bytes) -> tuple[list[Json], str, str]:
    told = dict(events(stream))
    return (
        content_of(stream),
        told["message_start"]["message"]["model"],
        told["message_delta"]["delta"]["stop_reason"],
    )


@settings(max_examples=500)
@given(st.lists(BLOCKS, max_size=5), PLANS, STOPS, st.integers(1, 9))
def test_a_stream_and_a_body_are_restored_alike(
    content: list[Json], plan: AnswerPlan, stop: str, size: int
) -> None:
    if plan.forced is not None and plan.forced.wrapped and stop in ("end_turn", "tool_use"):
        # A structured output that came to its end is an object.
        said = "".join(block["text"] for block in content if block["type"] == "text")
        assume(not said.lstrip().startswith("{") or is_object(said))
    body = answer(*content, id="m", model="served", stop_reason=stop)
    whole = restore(body, plan)
    message = json.loads(whole.body)
    restorer = StreamRestorer(plan)
    stream = restorer.feed(stopping(content, stop, size)) + restorer.close()
    blocks = [{key: value for key, value in block.items() if value != ""} for block in message["content"]]
    assert read_stream(stream) == (blocks, message["model"], message["stop_reason"])
    assert kept_as_json(restorer.kept) == kept_as_json(whole.kept)


@settings(max_examples=200)
@given(st.lists(BLOCKS, max_size=4), PLANS, STOPS, st.data())
def test_any_plan_over_any_cut_gives_the_same_stream(
    content: list[Json], plan: AnswerPlan, stop: str, data: st.DataObject
) -> None:
    stream = PING + stopping(content, stop, 2)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=3)))
    whole = restored(stream, plan)
    assert restored(stream, plan, *cuts) == whole
    assert restored(stream, plan, *range(1, len(stream))) == whole


@settings(max_examples=200)
@given(st.lists(BLOCKS, max_size=4), PLANS, st.integers(1, 4))
def test_no_other_event_is_lost_or_changed(content: list[Json], plan: AnswerPlan, size: int) -> None:
    unknown = b': comment\n\nevent: news\ndata: {"a" : 1.0}\n\n'
    pieces = SseScanner().feed(stream_of(content, size))
    stream = b"".join(piece.raw + PING + unknown for piece in pieces)
    out = restored(stream, plan)
    assert out.count(PING) == stream.count(PING)
    assert out.count(unknown) == len(pieces)
    assert [data["usage"] for name, data in told(out) if name == "message_delta"] == [{"output_tokens": 3}]


def told(stream: bytes) -> list[tuple[str, Json]]:
    return [(one.name, json.loads(one.data)) for one in SseScanner().feed(stream) if one.data]
