from typing import Any

import pytest

from gateway.simulator.replies import intent
from gateway.simulator.replies.intent import Beginning
from tests.support.judged import case_of

MODEL = "claude-opus-4-5"


def tool(name: str, **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"name": name, "input_schema": schema, **more}


def calls(text: str, *tools: dict[str, Any], **fields: Any) -> list[str]:
    body = {"model": MODEL, "tools": list(tools), "messages": [{"role": "user", "content": text}], **fields}
    case = case_of(body)
    return [name for name, _ in intent.tool_calls(case, intent.conversation_seed(case))]


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("What is the weather?", []),
        ("Use the tool.", ["weather"]),
        ("Please use the weather tool for Paris", ["weather"]),
        ("call weather now", ["weather"]),
        ("You must invoke weather first.", ["weather"]),
        ("I use rain coats.", []),
    ],
)
def test_a_lone_tool_is_called_when_the_last_turn_says_so(text: str, called: list[str]) -> None:
    assert calls(text, tool("weather")) == called


def test_the_named_tool_is_called() -> None:
    assert calls("call news", tool("weather"), tool("news")) == ["news"]
    assert calls("hi", tool("a"), tool("b"), tool_choice={"type": "tool", "name": "b"}) == ["b"]


def test_forced_tools_are_called_and_switched_off_ones_are_not() -> None:
    assert calls("hi", tool("weather"), tool_choice={"type": "any"}) == ["weather"]
    assert calls("use the tool", tool("weather"), tool_choice={"type": "none"}) == []
    assert calls("use the tool") == []


def test_calls_in_parallel_unless_switched_off() -> None:
    assert calls("use the tool twice in parallel", tool("weather")) == ["weather", "weather"]
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert calls("use the tool twice in parallel", tool("weather"), tool_choice=choice) == ["weather"]


def test_server_tools_are_not_called() -> None:
    assert calls("use the tool", {"type": "web_search_20260318", "name": "web_search"}) == []


def test_tools_of_the_vendor_get_an_input_of_their_kind() -> None:
    body = {
        "model": MODEL,
        "tools": [{"type": "bash_20250124", "name": "bash"}],
        "tool_choice": {"type": "any"},
    }
    assert intent.tool_calls(case_of(body), b"12") == [("bash", {"command": "ls -la"})]


def test_an_agent_calls_for_one_to_three_rounds_and_then_answers() -> None:
    tools, rounds = [tool("read"), tool("edit")], []
    for question in range(12):
        messages: list[dict[str, Any]] = [{"role": "user", "content": f"Question {question}"}]
        made = 0
        while True:
            case = case_of({"model": MODEL, "tools": tools, "messages": messages})
            found = intent.tool_calls(case, intent.conversation_seed(case))
            if not found:
                break
            made += 1
            block = {"type": "tool_use", "id": f"c{made}", "name": found[0][0], "input": found[0][1]}
            result = {"type": "tool_result", "tool_use_id": f"c{made}", "content": "ok"}
            messages += [{"role": "assistant", "content": [block]}, {"role": "user", "content": [result]}]
        assert intent.between_calls(case)
        rounds.append(made)
    assert set(rounds) == {1, 2, 3}


def test_the_last_text_is_the_users_and_the_systems_behind_it() -> None:
    messages = [
        {"role": "user", "content": "old"},
        {"role": "assistant", "content": "answer"},
        {"role": "user", "content": [{"type": "text", "text": "new"}, {"type": "image", "source": {}}]},
        {"role": "system", "content": "now"},
    ]
    case = case_of({"model": "claude-opus-5-5", "system": "be", "messages": messages})
    assert intent.last_text(case) == "new\nnow"
    assert intent.prompt_text(case) == "be\nnew\nnow"


@pytest.mark.parametrize(
    ("system", "text", "wanted"),
    [
        ("", "Return only JSON.", True),
        ("Answer with one JSON object and nothing else.", "Hello", True),
        ("", "What is JSON?", False),
        ("", "Hello", False),
    ],
)
def test_whether_json_is_wanted(system: str, text: str, wanted: bool) -> None:
    case = case_of({"model": MODEL, "system": system, "messages": [{"role": "user", "content": text}]})
    assert intent.wants_json(case) is wanted


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("Where do we start?", None),
        ('Begin your reply with "{".', Beginning("{", False)),
        ('Begin with the characters "{\\"a\\": ".', Beginning('{"a": ', False)),
        ("Start your answer with `Yes, `", Beginning("Yes, ", False)),
        ("begin with:\n```\n[{\n```", Beginning("[{", False)),
        (
            "Begin your reply with the characters between the tags.\n<start>\n{</start>",
            Beginning("\n{", False),
        ),
        ("It has already begun with this: do not repeat it.\n<a>x: </a>", Beginning("x: ", True)),
        ("Begin your reply with <reply_start><b></reply_start>", Beginning("<b>", False)),
        ('Begin with <start>{"start": "a"</start>', Beginning('{"start": "a"', False)),
        ('Begin with "C:\\q".', Beginning("C:\\q", False)),
        ('Begin with "a". Or rather begin with "b".', Beginning("b", False)),
    ],
)
def test_the_beginning_that_is_asked_for(text: str, given: Beginning | None) -> None:
    case = case_of({"model": MODEL, "messages": [{"role": "user", "content": text}]})
    assert intent.given_beginning(case) == given


def test_an_old_instruction_is_not_followed_again() -> None:
    messages = [
        {"role": "user", "content": 'Begin with "{".'},
        {"role": "assistant", "content": "{}"},
        {"role": "user", "content": "Thanks."},
    ]
    assert intent.given_beginning(case_of({"model": MODEL, "messages": messages})) is None
