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


# --- tool lines and changes ---------------------------------------------------------------------------------

LINES = [
    ("You must call the weather tool now.", ["weather"]),
    ("This turn has to begin with a call of a tool.", ["news"]),
    ("Answer by calling `weather`, whatever else you were going to say.", ["weather"]),
    ("Use one of the tools: weather or news.", ["weather"]),
    ("Invoke the tool named news and say nothing.", ["news"]),
]


def lines_of(text: str) -> list[list[dict[str, Any]]]:
    """The same line as a text block behind the question, behind a result, and as a system message."""
    block = {"type": "text", "text": text}
    call = {"type": "tool_use", "id": "a", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "ok"}
    question = {"role": "user", "content": "Is it cold in Oslo?"}
    return [
        [{"role": "user", "content": [{"type": "text", "text": "Is it cold in Oslo?"}, block]}],
        [question, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result, block]}],
        [question, {"role": "system", "content": text}],
    ]


@pytest.mark.parametrize(("line", "called"), LINES)
@pytest.mark.parametrize("place", range(3), ids=["block", "behind a result", "system"])
def test_a_line_behind_the_question_decides_alone(line: str, called: list[str], place: int) -> None:
    tools = [tool("news"), tool("weather")]
    body = {"model": "claude-opus-5-5", "tools": tools, "messages": lines_of(line)[place]}
    case = case_of(body)
    seed = intent.conversation_seed(case)
    assert [name for name, _ in intent.tool_calls(case, seed)] == called
    assert intent.tool_calls(case, seed, obeys=False) == []
    forced = case_of({**body, "tool_choice": {"type": "any"}})
    assert intent.tool_calls(forced, seed, obeys=False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Do not call any tools.", ""),
        ("Answer without using a tool.", ""),
        ("You must call weather. Never call it twice.", "You must call weather. ."),
    ],
)
def test_what_is_forbidden_is_no_line(text: str, found: str) -> None:
    for turns in lines_of(text):
        assert intent.tool_line(case_of({"model": "claude-opus-5-5", "messages": turns})) == found


@pytest.mark.parametrize("text", ["Be brief.", "Use simple words.", "Call me Ishmael."])
def test_other_lines_are_none(text: str) -> None:
    found = [
        intent.tool_line(case_of({"model": "claude-opus-5-5", "messages": turns})) for turns in lines_of(text)
    ]
    assert found == ([""] * 3 if not text.startswith("Call") else [text] * 3)


def test_a_question_alone_is_no_line() -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "You must call the tool."}]}
    assert intent.tool_line(case_of(body)) == ""


def change(kind: str, **given: Any) -> dict[str, Any]:
    return {"role": "system", "content": [{"type": kind, "tool": given}]}


REMOVED = change("tool_removal", type="tool_reference", name="weather")
RETURNED = change("tool_addition", type="tool_reference", name="weather")
DEFINED = change("tool_addition", type="tool_definition", definition=tool("news"))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([], ["weather"]),
        ([REMOVED], []),
        ([REMOVED, RETURNED], ["weather"]),
        ([DEFINED], ["weather", "news"]),
        ([DEFINED, REMOVED], ["news"]),
    ],
)
def test_tools_come_and_go_in_the_conversation(changes: list[Any], names: list[str]) -> None:
    asked = {"role": "user", "content": "Use the tool."}
    case = case_of({"model": "claude-opus-5-5", "tools": [tool("weather")], "messages": [asked, *changes]})
    assert [found["name"] for found in intent.offered(case)] == names
    assert bool(intent.tool_calls(case, b"12")) is bool(names)


@pytest.mark.parametrize("family", ["computer", "browser"])
def test_a_toolset_is_called_by_a_member(family: str) -> None:
    body = {
        "model": "claude-opus-5-5",
        "tools": [{"type": f"{family}_toolset_20260801"}],
        "messages": [{"role": "user", "content": "Use the tool."}],
    }
    case = case_of(body)
    assert intent.tool_calls(case, b"12") == [("screenshot", {})]
    assert intent.toolset_of(case, "screenshot") == family
    assert intent.toolset_of(case, "weather") is None
