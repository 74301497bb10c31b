"""What is kept of an answer lets the next turn say again what the model said, and nothing else is kept."""

import json
from typing import Any

import pytest
from msgspec import Raw

from gateway.compat.address import addresses
from gateway.compat.answer.kept import Kept, note_of
from gateway.compat.answer.plan import AnswerPlan, ForcedCall
from gateway.compat.answer.response import restore
from gateway.compat.catalog import Model
from gateway.compat.replay import NOTHING, Note, Replay, recollect
from gateway.compat.request import Context, Rewrite, rewrite
from tests.compat.answer.test_response import CALL, REDACTED, THOUGHT, answer, text
from tests.support.requests import HELLO, KEEP, Json, asked
from tests.support.rows import O45, O46, O55, S45, S55, name

HIDING = AnswerPlan(hides_thinking=True)
NOTE: Json = {"type": "thinking", "thinking": "Looking.", "signature": "n"}
FALLBACK: Json = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}


def kept_of(plan: AnswerPlan, *content: Json, stop: str = "end_turn") -> Kept | None:
    return restore(answer(*content, id="msg_1", stop_reason=stop), plan).kept


def plain(kept: Kept | None) -> Any:
    assert kept is not None
    if kept.content is not None:
        return json.loads(bytes(kept.content))
    return [(at, json.loads(bytes(raw))) for at, raw in kept.hidden]


@pytest.mark.parametrize(
    ("content", "hidden"),
    [
        ([THOUGHT, text("yes")], [(0, THOUGHT)]),
        ([THOUGHT, REDACTED, CALL], [(0, THOUGHT), (1, REDACTED)]),
        ([text(" "), THOUGHT, CALL], [(0, THOUGHT)]),
    ],
)
def test_hidden_thinking_is_kept_with_its_place_in_the_model_s_turn(content: list[Json], hidden: Any) -> None:
    assert plain(kept_of(HIDING, *content)) == hidden


@pytest.mark.parametrize(
    "content",
    [
        [text("one"), THOUGHT, text("two")],
        [THOUGHT, text("yes"), NOTE, CALL],
        [text("yes"), NOTE, CALL],
    ],
)
def test_behind_blocks_that_may_come_back_split_or_joined_the_whole_turn_is_kept(content: list[Json]) -> None:
    assert plain(kept_of(HIDING, *content)) == content


def test_of_a_turn_that_another_model_took_over_its_thinking_is_not_kept() -> None:
    content = [THOUGHT, text("no"), FALLBACK, NOTE, text("yes")]
    assert plain(kept_of(HIDING, *content)) == content[1:]


def test_thinking_behind_a_text_with_a_prefill_keeps_the_whole_turn() -> None:
    content = [text('{"a": 1}'), THOUGHT, CALL]
    plan = AnswerPlan(prefill="{", intent="json", hides_thinking=True)
    assert plain(kept_of(plan, *content)) == content


@pytest.mark.parametrize(
    ("plan", "content", "stop"),
    [
        (AnswerPlan(), [THOUGHT, text("yes")], "end_turn"),
        (HIDING, [text("yes"), CALL], "tool_use"),
        (HIDING, [THOUGHT, text("yes")], "refusal"),
        (HIDING, [THOUGHT, text("yes")], ""),
        (HIDING, [THOUGHT], "max_tokens"),
        (AnswerPlan(forced=ForcedCall()), [CALL], "tool_use"),
        (AnswerPlan(classic_stops=True, shown_model="m"), [text("yes")], "pause_turn"),
        (AnswerPlan(repeats=True), [text("no")], "refusal"),
    ],
)
def test_nothing_is_kept_where_nothing_must_be_repeated(
    plan: AnswerPlan, content: list[Json], stop: str
) -> None:
    assert kept_of(plan, *content, stop=stop) is None


@pytest.mark.parametrize(
    ("reply", "whole"),
    [
        ('{"a": 1}', False),
        ('\n{"a": 1} ', False),
        ('"a": 1}', True),
        ('{ "a": 1}', False),
        ('```json\n{"a": 1}\n```', True),
    ],
)
def test_a_turn_that_comes_back_as_it_was_said_is_not_kept(reply: str, whole: bool) -> None:
    plan = AnswerPlan(prefill="{", intent="json", repeats=True)
    kept = kept_of(plan, text(reply))
    assert kept is not None
    assert (plain(kept) if whole else kept.content) == ([text(reply)] if whole else None)


def test_a_prefilled_answer_is_known_with_its_beginning_and_without() -> None:
    kept = kept_of(AnswerPlan(prefill="{ ", intent="json", repeats=True), text('{"a": 1}'))
    assert kept is not None
    whole, alone = kept.echoes
    (again,) = Kept((text_raw('{"a":1}'),), "end_turn").echoes
    (rest,) = Kept((text_raw('"a": 1}'),), "end_turn").echoes
    assert (whole, alone) == (again, rest)


def text_raw(said: str) -> Raw:
    return Raw(json.dumps(text(said)).encode())


# --- conversations ----------------------------------------------------------------------------------------


class Talk:
    """A conversation through the rules, its notes kept as the store would."""

    def __init__(self, source: Model, target: Model, **fields: Any) -> None:
        self.source, self.target, self.fields = source, target, fields
        self.notes: dict[str, Note] = {}
        self.done: Rewrite | None = None

    def say(self, *messages: Json, reply: list[Json], **fields: Any) -> Json:
        """Send a request and return the body that the target gets; the answer is noted."""
        envelope = asked(self.source, messages=list(messages), **self.fields, **fields)
        past = self._past(envelope)
        self.done = rewrite(envelope, self.source, self.target, KEEP, Context(past=past))
        stop = "tool_use" if any(block["type"] == "tool_use" for block in reply) else "end_turn"
        self.restored = restore(answer(*reply, id="msg_1", stop_reason=stop), self.done.plan)
        if self.restored.kept is not None:
            digests, note = note_of(envelope, self.done.edits, self.restored.kept, past)
            self.notes |= dict.fromkeys(digests, note)
        body: Json = json.loads(self.done.body)
        return body

    @property
    def answered(self) -> list[Json]:
        content: list[Json] = json.loads(self.restored.body)["content"]
        return content

    def _past(self, envelope: Any) -> Replay:
        found = addresses(envelope)
        return recollect(found, self.notes) if found else NOTHING


def says(*content: Json) -> Json:
    return {"role": "assistant", "content": list(content)}


def results(*ids: str) -> Json:
    found = [{"type": "tool_result", "tool_use_id": each, "content": f"found {each}"} for each in ids]
    return {"role": "user", "content": found}


def call(number: int) -> Json:
    return {"type": "tool_use", "id": f"t{number}", "name": "look", "input": {"n": number}}


def thought(number: int) -> Json:
    return {"type": "thinking", "thinking": "", "signature": f"s{number}"}


TOOLS: Json = {"tools": [{"name": "look", "input_schema": {"type": "object"}}]}


@pytest.mark.parametrize(("source", "target"), [(O45, O55), (S45, S55)], ids=name)
def test_every_turn_of_a_tool_loop_gets_its_thinking_back(source: Model, target: Model) -> None:
    talk = Talk(source, target, **TOOLS)
    history: list[Json] = [HELLO]
    produced: list[Json] = [HELLO]
    for number in range(4):
        reply = [thought(number), text(f"step {number}"), thought(10 + number), call(number)]
        body = talk.say(*history, reply=reply)
        assert body["messages"] == produced
        assert talk.answered == [text(f"step {number}"), call(number)]
        history += [says(*talk.answered), results(f"t{number}")]
        produced += [says(*reply), results(f"t{number}")]


ROUNDS: list[Json] = [thought(1), text("one"), call(1), thought(2), text("two"), call(2)]


@pytest.mark.parametrize(
    "echoed",
    [
        [text("one"), call(1), text("two"), call(2)],
        [text("on"), text("e"), call(1), text("two"), call(2)],
        [text("one two"), call(1), call(2)],
    ],
)
def test_however_texts_come_back_split_or_joined_the_thinking_stands_where_it_stood(
    echoed: list[Json],
) -> None:
    talk = Talk(O45, O55, **TOOLS)
    talk.say(HELLO, reply=ROUNDS)
    again = talk.say(HELLO, says(*echoed), results("t1", "t2"), reply=[text("done")])
    assert again["messages"][1] == says(*ROUNDS)


def test_a_prefill_s_words_and_the_model_s_own_turn_are_repeated() -> None:
    talk = Talk(O45, O46)
    first = talk.say(HELLO, says(text("{")), reply=[text('```json\n{"a": 1}\n```')])
    assert talk.answered == [text('"a": 1}')]
    for echoed in (says(text('{"a": 1}')), {"role": "assistant", "content": '"a": 1}'}):
        second = talk.say(HELLO, echoed, HELLO, reply=[text("done")])
        assert second["messages"] == [*first["messages"], says(text('```json\n{"a": 1}\n```')), HELLO]


def test_a_cache_marker_of_the_application_s_stands_at_the_end_of_the_model_s_own_turn() -> None:
    talk = Talk(O45, O46)
    talk.say(HELLO, says(text("{")), reply=[text('```json\n{"a": 1}\n```')])
    mark = {"cache_control": {"type": "ephemeral"}}
    second = talk.say(HELLO, says({**text('{"a": 1}'), **mark}), HELLO, reply=[text("done")])
    assert second["messages"][1] == says({**text('```json\n{"a": 1}\n```'), **mark})


def test_an_answer_that_was_cut_stays_two_turns_with_the_question_between() -> None:
    talk = Talk(O45, O46)
    begun, rest = "A long story. " * 40, "The end."
    first = talk.say(HELLO, says(text(begun)), reply=[text(rest)])
    assert talk.answered == [text(rest)]
    second = talk.say(HELLO, says(text(begun + rest)), HELLO, reply=[text("done")])
    assert second["messages"] == [*first["messages"], says(text(rest)), HELLO]
    assert len(first["messages"]) == 3


SEARCH: list[Json] = [
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
    {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
]


def test_results_of_server_tools_stay_in_an_answer_that_was_cut() -> None:
    talk = Talk(O45, O46)
    first = talk.say(HELLO, says(*SEARCH, text("so ")), reply=[text("far")])
    second = talk.say(HELLO, says(*SEARCH, text("so far")), HELLO, reply=[text("done")])
    assert second["messages"] == [*first["messages"], says(text("far")), HELLO]


FORCED: Json = {"tool_choice": {"type": "tool", "name": "look"}}


def test_the_line_for_a_forced_call_and_the_words_before_it_are_repeated() -> None:
    talk = Talk(O45, O55, **TOOLS)
    reply = [thought(1), text("Let me look."), call(1)]
    first = talk.say(HELLO, reply=reply, **FORCED)
    assert talk.answered == [call(1)]
    second = talk.say(HELLO, says(call(1)), results("t1"), reply=[thought(2), text("done")])
    assert second["messages"] == [*first["messages"], says(*reply), results("t1")]
    third = talk.say(HELLO, says(call(1)), results("t1"), says(text("done")), HELLO, reply=[text("x")])
    assert third["messages"] == [*second["messages"], says(thought(2), text("done")), HELLO]


EXTRACTION: Json = {
    "tools": [{"name": "look", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}]
}


def test_a_made_up_call_becomes_the_text_again_and_its_result_too() -> None:
    talk = Talk(O45, O55, **EXTRACTION)
    first = talk.say(HELLO, reply=[thought(1), text('{"at": "sea"}')], **FORCED)
    (shown,) = talk.answered
    assert shown == {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "sea"}}
    assert json.loads(talk.restored.body)["stop_reason"] == "tool_use"
    history = [HELLO, says(shown), results("toolu_1")]
    second = talk.say(*history, reply=[text("done")])
    said = [text("The result of that:"), text("found toolu_1")]
    produced = [
        *first["messages"],
        says(thought(1), text('{"at": "sea"}')),
        {"role": "user", "content": said},
    ]
    assert second["messages"] == produced
    third = talk.say(*history, says(text("done")), HELLO, reply=[text("x")])
    assert third["messages"] == [*produced, says(text("done")), HELLO]


def test_without_its_note_a_made_up_call_passes_as_it_is() -> None:
    talk = Talk(O45, O55, **EXTRACTION)
    talk.say(HELLO, reply=[thought(1), text('{"at": "sea"}')], **FORCED)
    history = [HELLO, says(*talk.answered), results("toolu_1")]
    talk.notes.clear()
    assert talk.say(*history, reply=[text("done")])["messages"] == history


def test_notes_shown_as_text_are_thinking_again_on_the_next_turn() -> None:
    plan = AnswerPlan(hides_thinking=True, shows_notes=True)
    content = [thought(1), NOTE, call(1)]
    restored = restore(answer(*content, stop_reason="tool_use"), plan)
    assert json.loads(restored.body)["content"] == [text("Looking."), call(1)]
    assert plain(restored.kept) == content
    envelope = asked(O45, messages=[HELLO])
    assert restored.kept is not None
    (digest,), _ = note_of(envelope, (), restored.kept, NOTHING)
    echoed = asked(O45, messages=[HELLO, says(text("Looking."), call(1)), results("t1")])
    assert [each.digest for each in addresses(echoed)] == [digest]
