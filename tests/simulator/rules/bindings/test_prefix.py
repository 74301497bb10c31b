"""What is an edit of the conversation before a block, and what is none: the reference's two lists."""

from typing import Any

import pytest

from gateway.simulator.rules.bindings.prefix import as_blocks, first_difference, read_whole


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


TOOL = {"name": "a", "description": "does", "input_schema": {"type": "object", "x": {"y": 1, "z": 2}}}
OTHER = {"name": "b", "input_schema": {"type": "object"}}
LATER = {"name": "c", "input_schema": {"type": "object"}, "defer_loading": True}
CALL = {"type": "tool_use", "id": "t1", "name": "a", "input": {"n": 1, "path": " /a "}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "it  is done"}
PICTURE = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png?sig=1"}}
THINKING = {"type": "thinking", "thinking": "", "signature": "s"}
BODY: dict[str, Any] = {
    "system": "Be brief.",
    "tools": [TOOL, OTHER],
    "messages": [user(text("Which one?"), PICTURE), assistant(text("Let me see."), CALL), user(RESULT)],
}


def digest(body: dict[str, Any]) -> str:
    return read_whole(body).digest()


def changed(**fields: Any) -> dict[str, Any]:
    return {**BODY, **fields}


def said(index: int, *content: Any, **more: Any) -> dict[str, Any]:
    """The conversation with other content in one message."""
    messages = [*BODY["messages"]]
    messages[index] = {**messages[index], "content": list(content), **more}
    return changed(messages=messages)


NO_EDITS = {
    "a cache marker on a text": said(0, text("Which one?", cache_control={"type": "ephemeral"}), PICTURE),
    "a cache marker on a tool": changed(tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}, OTHER]),
    "a cache marker in a result": said(
        2, {**RESULT, "content": [text("it  is done", cache_control={"type": "ephemeral"})]}
    ),
    "the order of tools": changed(tools=[OTHER, TOOL]),
    "a deferred tool that nothing refers to": changed(tools=[TOOL, OTHER, LATER]),
    "parameters of the request": changed(
        max_tokens=7, thinking={"type": "adaptive"}, tool_choice={"type": "any"}
    ),
    "another model": changed(model="claude-opus-5"),
    "whitespace around a text": said(0, text(" \nWhich one? "), PICTURE),
    "whitespace around the system prompt": changed(system="\nBe brief. "),
    "a text of whitespace": said(0, text(" \n"), text("Which one?"), PICTURE),
    "a system prompt in a block": changed(system=[text("Be brief.")]),
    "a result in a block": said(2, {**RESULT, "content": [text("it  is done")]}),
    "the order of keys": said(1, text("Let me see."), {**CALL, "input": {"path": " /a ", "n": 1}}),
    "the order of keys in a tool": changed(
        tools=[
            {"input_schema": {"x": {"z": 2, "y": 1}, "type": "object"}, "description": "does", "name": "a"},
            OTHER,
        ]
    ),
    "a field that is null": said(1, text("Let me see.", citations=None), {**CALL, "caller": None}),
    "thinking": said(1, THINKING, text("Let me see."), CALL),
    "the query of a URL": said(
        0, text("Which one?"), {**PICTURE, "source": {"type": "url", "url": "https://a.example/b.png?sig=2"}}
    ),
    "a turn in two messages": changed(
        messages=[BODY["messages"][0], assistant(text("Let me see.")), assistant(CALL), BODY["messages"][2]]
    ),
}
EDITS = {
    "a system prompt": changed(system="Be long."),
    "no system prompt": changed(system=None),
    "a tool more": changed(tools=[TOOL, OTHER, {**OTHER, "name": "d"}]),
    "a tool less": changed(tools=[TOOL]),
    "a tool's description": changed(tools=[{**TOOL, "description": "does not"}, OTHER]),
    "a tool's schema": changed(tools=[{**TOOL, "input_schema": {"type": "object"}}, OTHER]),
    "a tool made strict": changed(tools=[{**TOOL, "strict": True}, OTHER]),
    "a word": said(0, text("Which two?"), PICTURE),
    "whitespace inside": said(0, text("Which  one?"), PICTURE),
    "a block more": said(0, text("Which one?"), text("Quick."), PICTURE),
    "a block less": said(0, text("Which one?")),
    "two texts in one": said(1, text("Let me see. "), text("Yes."), CALL),
    "the input of a call": said(1, text("Let me see."), {**CALL, "input": {"n": 2, "path": " /a "}}),
    "whitespace in the input of a call": said(
        1, text("Let me see."), {**CALL, "input": {"n": 1, "path": "/a"}}
    ),
    "a number spelled otherwise": said(1, text("Let me see."), {**CALL, "input": {"n": 1.0, "path": " /a "}}),
    "the text of a result": said(2, {**RESULT, "content": "it is done"}),
    "an error of a result": said(2, {**RESULT, "is_error": True}),
    "the place behind a URL": said(
        0, text("Which one?"), {**PICTURE, "source": {"type": "url", "url": "https://a.example/c.png"}}
    ),
    "a message less": changed(messages=BODY["messages"][:2]),
    "a role": said(0, text("Which one?"), PICTURE, role="assistant"),
    "a system message more": changed(messages=[*BODY["messages"], {"role": "system", "content": "Be kind."}]),
    "an effort from here on": changed(
        messages=[*BODY["messages"], {"role": "system", "content": "", "output_config": {"effort": "low"}}]
    ),
}


@pytest.mark.parametrize("body", NO_EDITS.values(), ids=NO_EDITS)
def test_what_is_no_edit(body: dict[str, Any]) -> None:
    assert digest(body) == digest(BODY)


@pytest.mark.parametrize("body", EDITS.values(), ids=EDITS)
def test_what_is_an_edit(body: dict[str, Any]) -> None:
    assert digest(body) != digest(BODY)


def test_a_deferred_tool_belongs_to_the_conversation_from_where_something_refers_to_it() -> None:
    found = {
        "type": "tool_search_tool_result",
        "tool_use_id": "s1",
        "content": {"tool_references": [{"type": "tool_reference", "tool_name": "c"}]},
    }
    before = changed(tools=[TOOL, OTHER, LATER])
    after = {**before, "messages": [*BODY["messages"], assistant(found)]}
    assert digest(before) == digest(BODY)
    other = {**after, "tools": [TOOL, OTHER, {**LATER, "description": "another"}]}
    assert digest(after) != digest(other)
    called = {**before, "messages": [*BODY["messages"], assistant({**CALL, "name": "c"})]}
    assert digest(called) != digest({**called, "tools": [TOOL, OTHER, {**LATER, "description": "another"}]})


@pytest.mark.parametrize(("content", "anew"), [("A summary.", True), (None, False)])
def test_a_summary_begins_the_conversation_anew(content: str | None, anew: bool) -> None:
    summary = {"type": "compaction", "content": content}
    long, short = (
        changed(messages=[*turns, assistant(summary)]) for turns in (BODY["messages"], [user(text("x"))])
    )
    assert (digest(long) == digest(short)) is anew
    assert digest(long) != digest({**long, "system": "Be long."})


def test_the_trail_tells_where_two_conversations_part() -> None:
    made, found = read_whole(BODY).trail, read_whole(EDITS["the input of a call"]).trail
    assert first_difference(made, found) == 1
    assert first_difference(made, made) is None
    assert first_difference(made, read_whole(EDITS["a message less"]).trail) == 2
    assert first_difference(made, read_whole(EDITS["a system prompt"]).trail) is None


def test_content_is_blocks() -> None:
    assert as_blocks("a") == [text("a")]
    assert as_blocks(None) == as_blocks(7) == as_blocks([3]) == []
