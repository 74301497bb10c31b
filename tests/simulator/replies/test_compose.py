import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.simulator.replies.compose import compose
from gateway.simulator.replies.profiles import profile_of
from gateway.simulator.replies.reply import Reply
from gateway.simulator.rules.switches import Habit
from tests.support.judged import HELLO, case_of, verdict

OLD, NEW = "claude-opus-4-5", "claude-opus-5-5"
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["spam", "ham"]}, "score": {"type": "number"}},
    "required": ["label", "score"],
    "additionalProperties": False,
}
TOOL = {"name": "classify", "input_schema": SCHEMA}


def reply_to(
    body: dict[str, Any], *, habit: Habit | None = None, refusals: float = 0.0, prompt: int = 10
) -> Reply:
    case = case_of(body)
    profile = profile_of(case.model)
    return compose(case, profile, prompt_tokens=prompt, habit=habit, refusal_scale=refusals)


def text_of(reply: Reply) -> str:
    return "".join(block["text"] for block in reply.content if block["type"] == "text")


def asking(text: str, model: str = OLD, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def prefilled(prefill: str, text: str = "Go on.", **fields: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": prefill}]
    return {"model": OLD, "messages": turns, **fields}


def test_the_same_conversation_gets_the_same_words() -> None:
    assert reply_to(asking("a")) == reply_to(asking("a")) == reply_to(asking("a", stream=True, temperature=0))
    assert text_of(reply_to(asking("a"))) != text_of(reply_to(asking("b")))
    assert text_of(reply_to(asking("a"))) != text_of(reply_to(asking("a", model="claude-opus-4-6")))


def test_a_plain_answer_ends_its_turn() -> None:
    reply = reply_to(asking("a"))
    assert [block["type"] for block in reply.content] == ["text"]
    assert (reply.stop_reason, reply.stop_sequence, reply.thinking_tokens) == ("end_turn", None, 0)
    assert reply.output_tokens > 10


# --- thinking -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "thinking", "kinds", "shown"),
    [
        ("claude-opus-4-5", None, ["text"], None),
        ("claude-opus-4-5", {"type": "enabled", "budget_tokens": 1024}, ["thinking", "text"], True),
        ("claude-opus-4-6", {"type": "adaptive"}, ["thinking", "text"], True),
        ("claude-opus-4-8", None, ["text"], None),
        ("claude-opus-4-8", {"type": "adaptive"}, ["thinking", "text"], False),
        ("claude-opus-5", None, ["thinking", "text"], False),
        ("claude-opus-5", {"type": "disabled"}, ["text"], None),
        ("claude-opus-5-5", {"type": "adaptive", "display": "summarized"}, ["thinking", "text"], True),
        ("claude-opus-4-6", {"type": "adaptive", "display": "omitted"}, ["thinking", "text"], False),
        ("claude-sonnet-5-5", None, ["thinking", "text"], False),
        ("claude-sonnet-5-5", {"type": "between_tools"}, ["text"], None),
        ("claude-haiku-5-5", None, ["thinking", "text"], False),
    ],
)
def test_thinking_comes_first_where_it_is_on(
    model: str, thinking: Any, kinds: list[str], shown: bool | None
) -> None:
    reply = reply_to(asking("a", model=model, max_tokens=4096, thinking=thinking))
    assert [block["type"] for block in reply.content] == kinds
    assert (reply.thinking_tokens > 0) is ("thinking" in kinds)
    if shown is not None:
        assert bool(reply.content[0]["thinking"]) is shown
        assert reply.content[0]["signature"]
        assert reply.output_tokens > reply.thinking_tokens


def test_a_thinking_block_can_be_replayed() -> None:
    body = asking("a", model="claude-fable-5-2", max_tokens=4096)
    answer = {"role": "assistant", "content": reply_to(body).content}
    assert verdict({**body, "messages": [*body["messages"], answer, HELLO]}) == ""
    assert verdict({**body, "messages": [HELLO, answer, HELLO]}).startswith(
        "messages.1.content.0: Invalid `signature`"
    )


def test_more_effort_thinks_more() -> None:
    levels = ("low", "medium", "high", "xhigh", "max")
    spent = [
        reply_to(asking("a", NEW, max_tokens=9000, output_config={"effort": level})).thinking_tokens
        for level in levels
    ]
    assert spent == sorted(set(spent))


def test_a_budget_holds() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    body = asking("a", "claude-opus-4-6", max_tokens=4096, thinking=thinking, output_config={"effort": "max"})
    profile = replace(profile_of(case_of(body).model), thinking_tokens=50_000)
    reply = compose(case_of(body), profile, prompt_tokens=1, habit=None)
    assert reply.thinking_tokens == 1024


def test_a_small_max_tokens_is_eaten_by_thinking() -> None:
    reply = reply_to(asking("a", NEW, max_tokens=20))
    assert [block["type"] for block in reply.content] == ["thinking"]
    assert (reply.stop_reason, reply.output_tokens, reply.thinking_tokens) == ("max_tokens", 20, 20)


def test_haiku_does_not_think_before_a_forced_call() -> None:
    forced = {"tools": [TOOL], "tool_choice": {"type": "any"}, "max_tokens": 4096}
    assert reply_to(asking("a", "claude-haiku-5-5", **forced)).thinking_tokens == 0
    assert reply_to(asking("a", "claude-opus-5", **forced)).thinking_tokens > 0


def test_notes_between_tools_come_as_thinking_with_text() -> None:
    call = {"type": "tool_use", "id": "c", "name": "read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": "ok"}
    tools = [{"name": "read", "input_schema": {}}, {"name": "edit", "input_schema": {}}]
    seen = set()
    for number in range(12):
        turns = [
            {"role": "user", "content": f"Question {number}"},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ]
        body = {"model": "claude-sonnet-5-5", "tools": tools, "messages": turns}
        reply = reply_to({**body, "thinking": {"type": "between_tools"}})
        kinds = tuple(block["type"] for block in reply.content)
        assert all(block["thinking"] for block in reply.content if block["type"] == "thinking")
        assert reply.thinking_tokens == 0
        seen.add(kinds)
    assert seen == {("thinking", "tool_use"), ("text",)}


# --- tools and documents ------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "classify"}])
def test_a_forced_tool_gets_an_input_that_fits_its_schema(choice: Any) -> None:
    reply = reply_to(asking("a", tools=[TOOL], tool_choice=choice))
    assert reply.stop_reason == "tool_use"
    [block] = reply.content
    assert (block["type"], block["name"]) == ("tool_use", "classify")
    assert block["id"].startswith("toolu_")
    assert block["input"]["label"] in ("spam", "ham")
    assert isinstance(block["input"]["score"], float)


def test_parallel_calls_have_ids_of_their_own() -> None:
    reply = reply_to(asking("use the tool in parallel", tools=[TOOL]))
    assert len({block["id"] for block in reply.content}) == 2


def test_models_agree_on_the_values() -> None:
    forced: dict[str, Any] = {"tools": [TOOL], "tool_choice": {"type": "any"}, "max_tokens": 4096}
    one, other = (reply_to(asking("a", model, **forced)).content[-1] for model in (OLD, "claude-opus-5"))
    assert one["input"] == other["input"]


def test_a_call_without_room_has_no_input() -> None:
    reply = reply_to(asking("a", tools=[TOOL], tool_choice={"type": "any"}, max_tokens=5))
    assert (reply.stop_reason, reply.content[0]["input"]) == ("max_tokens", {})


def test_a_format_is_kept() -> None:
    chosen = {"type": "json_schema", "schema": SCHEMA}
    reply = reply_to(asking("a", NEW, max_tokens=4096, output_config={"format": chosen}))
    assert set(json.loads(text_of(reply))) == {"label", "score"}


def test_a_request_for_json_is_met() -> None:
    reply = reply_to(asking('Reply with JSON only: {"name": "…", "total": 1.5}'))
    document = json.loads(text_of(reply))
    assert isinstance(document["name"], str)
    assert isinstance(document["total"], float)


# --- beginnings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefill", ["{", "[", '{"name": "A', '[{"total":', "Here it is:\n{", '```json\n{"name"', "```json"]
)
def test_a_prefill_is_continued_into_a_valid_document(prefill: str) -> None:
    whole = prefill + text_of(reply_to(prefilled(prefill, "Fields: name, total")))
    document = whole.removeprefix("Here it is:").strip()
    if prefill.startswith("```"):
        assert document.endswith("\n```")
        document = document.removeprefix("```json").removesuffix("```")
    value = json.loads(document)
    record = value[-1] if isinstance(value, list) else value
    assert {"name", "total"} <= set(record)


def test_a_prefill_in_several_blocks_and_turns_is_one() -> None:
    blocks = [{"type": "text", "text": '{"name"'}, {"type": "text", "text": ": "}]
    turns: list[Any] = [
        HELLO,
        {"role": "assistant", "content": blocks},
        {"role": "assistant", "content": '"A'},
    ]
    text = text_of(reply_to({"model": OLD, "messages": turns}))
    assert json.loads('{"name": "A' + text)


@pytest.mark.parametrize(
    ("prefill", "pattern"),
    [
        ("Here is the summary:", r" \w+.*\."),
        ("<answer>", r"\w[^<]*</answer>"),
        ('Category: "', r'\w+"'),
        ("The best answer is (", r"\w.*"),
        ("[INFO] Summary:", r" \w.*"),
        ("```python\n", r"\w.*\n```"),
    ],
)
def test_other_prefills_are_continued_as_text(prefill: str, pattern: str) -> None:
    rest = text_of(reply_to(prefilled(prefill)))
    assert re.fullmatch(pattern, rest, re.DOTALL)
    assert not rest.startswith(prefill)


def test_a_stop_sequence_ends_a_tag() -> None:
    reply = reply_to(prefilled("<answer>", stop_sequences=["</nothing>", "</answer>"]))
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "</answer>")
    assert "<" not in text_of(reply)


TOLD = (
    "Fields: name, total\n\nBegin your reply with exactly the characters between the tags.\n<start>{}</start>"
)


@pytest.mark.parametrize("beginning", ["{", '[{"name": "A'])
@pytest.mark.parametrize("model", [NEW, "claude-opus-5"])
def test_told_to_begin_a_model_repeats_or_continues(beginning: str, model: str) -> None:
    body = asking(TOLD.format(beginning), model, max_tokens=4096)
    repeated = text_of(reply_to(body, habit="repeat"))
    continued = text_of(reply_to(body, habit="continue"))
    assert repeated == beginning + continued
    assert reply_to(body, habit="spaced").content[-1]["text"] == "\n" + repeated
    assert reply_to(body, habit="fenced").content[-1]["text"] == f"```json\n{repeated}\n```"
    assert "total" in repeated
    json.loads(repeated)


def test_each_model_has_its_habit() -> None:
    repeats = {
        model: text_of(reply_to(asking(TOLD.format("{"), model, max_tokens=4096))).startswith("{")
        for model in (NEW, "claude-opus-5", "claude-opus-4-8")
    }
    assert repeats == {NEW: True, "claude-opus-5": False, "claude-opus-4-8": False}


def test_told_not_to_repeat_it_does_not() -> None:
    told = 'Your reply has already begun with the characters between the tags: do not repeat them.\n<a>{"</a>'
    text = text_of(reply_to(asking(told, NEW, max_tokens=4096)))
    json.loads('{"' + text)


# --- limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 5, 30])
def test_max_tokens_cuts(most: int) -> None:
    full, cut = text_of(reply_to(asking("a"))), reply_to(asking("a", max_tokens=most))
    assert (cut.stop_reason, cut.output_tokens) == ("max_tokens", most)
    assert full.startswith(text_of(cut))
    assert len(text_of(cut)) == 4 * most


def test_nothing_is_said_with_no_tokens() -> None:
    reply = reply_to(asking("a", max_tokens=0))
    assert (reply.content, reply.stop_reason, reply.output_tokens) == ([], "max_tokens", 0)


def test_the_window_cuts_too() -> None:
    reply = reply_to(asking("a"), prompt=199_990)
    assert (reply.stop_reason, reply.output_tokens) == ("model_context_window_exceeded", 10)


def test_the_first_stop_sequence_cuts_and_is_named() -> None:
    full = text_of(reply_to(asking("a")))
    late, early = full.split()[9], full.split()[4]
    reply = reply_to(asking("a", stop_sequences=[late, early, "nowhere"]))
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", early)
    assert full.startswith(text_of(reply) + early)


def test_max_tokens_before_a_stop_sequence_wins() -> None:
    full = text_of(reply_to(asking("a")))
    reply = reply_to(asking("a", stop_sequences=[full[100:120]], max_tokens=3))
    assert (reply.stop_reason, reply.stop_sequence) == ("max_tokens", None)


# --- refusals -----------------------------------------------------------------------------------------------


def test_refusals_follow_the_conversation_and_the_profile() -> None:
    always = reply_to(asking("a"), refusals=1000)
    assert (always.stop_reason, always.content) == ("refusal", [])
    assert always.stop_details is not None
    assert always.stop_details["type"] == "refusal"
    assert {"category", "explanation"} < set(always.stop_details)
    refused = [
        number
        for number in range(400)
        if reply_to(asking(f"q{number}"), refusals=50).stop_reason == "refusal"
    ]
    again = [
        number
        for number in range(400)
        if reply_to(asking(f"q{number}"), refusals=50).stop_reason == "refusal"
    ]
    assert refused == again
    assert 5 <= len(refused) <= 40
    assert reply_to(asking(f"q{refused[0]}"), refusals=0).stop_reason == "end_turn"


def test_models_refuse_different_conversations() -> None:
    def refused(model: str) -> list[int]:
        return [
            number
            for number in range(300)
            if reply_to(asking(f"q{number}", model), refusals=50).stop_reason == "refusal"
        ]

    assert refused(OLD) != refused(NEW)


# --- anything -----------------------------------------------------------------------------------------------

TEXTS = st.sampled_from(
    ["a", 'Begin your reply with "{".', "use the tool in parallel", "Reply with JSON only", '"', "```"]
)
SCHEMAS = st.recursive(
    st.sampled_from(
        [{}, {"type": "string"}, {"type": ["integer", "null"]}, {"enum": [1]}, {"$ref": "#"}, True, 3]
    ),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["object", "array"])},
        optional={
            "properties": st.dictionaries(TEXTS, inner, max_size=2),
            "items": inner,
            "allOf": st.lists(inner),
        },
    ),
    max_leaves=5,
)
TOOLS = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["a", "b"]), "input_schema": SCHEMAS})
    | st.just({"type": "x"}),
    max_size=3,
)
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXTS}),
    min_size=1,
    max_size=3,
)
OPTIONS = {
    "tools": TOOLS,
    "tool_choice": st.sampled_from([{"type": "any"}, {"type": "auto"}, {"type": "none"}]),
    "system": TEXTS,
    "stop_sequences": st.lists(TEXTS, max_size=2),
    "output_config": st.fixed_dictionaries(
        {}, optional={"format": st.fixed_dictionaries({"type": st.just("json_schema"), "schema": SCHEMAS})}
    ),
}


@given(
    st.fixed_dictionaries(
        {"model": st.sampled_from([OLD, NEW]), "messages": TURNS, "max_tokens": st.integers(0, 300)},
        optional=OPTIONS,
    ),
    st.sampled_from([None, "repeat", "spaced", "fenced", "continue"]),
)
def test_whatever_is_accepted_is_answered_within_its_limit(body: dict[str, Any], habit: Habit | None) -> None:
    assume(not verdict(body))
    reply = reply_to(body, habit=habit)
    assert 0 <= reply.thinking_tokens <= reply.output_tokens <= body["max_tokens"]
    assert reply.stop_reason in ("end_turn", "tool_use", "max_tokens", "stop_sequence")
