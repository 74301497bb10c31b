"""The applications' templates are whole, fill in the same way every time, and grow as conversations do."""

import json
import re
from pathlib import Path

import pytest

from gateway.demo.apps import Conversation, Template, load_templates
from gateway.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "config" / "demo"
TEMPLATES = load_templates(FOLDER)


def talk(template: Template, user: str = "user-0001", number: int = 0) -> Conversation:
    return Conversation(template, user=user, number=number, model="claude-opus-4-5")


def of(application: str) -> list[Template]:
    return [template for template in TEMPLATES if template.application == application]


def test_there_are_five_applications_with_several_things_to_do() -> None:
    applications = {"chat", "classifier", "coding-agent", "documents", "extraction"}
    assert {template.application for template in TEMPLATES} == applications
    assert all(4 <= len(of(application)) <= 8 for application in applications)
    assert len({(template.application, template.name) for template in TEMPLATES}) == len(TEMPLATES)


@pytest.mark.parametrize(
    "template", TEMPLATES, ids=lambda template: f"{template.application}/{template.name}"
)
def test_no_placeholder_is_left(template: Template) -> None:
    conversation = talk(template)
    text = json.dumps([conversation.body, conversation.headers])
    assert re.findall(r"\{\{\w+\}\}", text) == []
    assert conversation.body["model"] == "claude-opus-4-5"


@pytest.mark.parametrize(
    "template", TEMPLATES, ids=lambda template: f"{template.application}/{template.name}"
)
def test_everybody_can_be_told_from_everybody_else(template: Template) -> None:
    said = [
        json.dumps([talk(template, user).body, talk(template, user).headers])
        for user in ("user-0001", "user-0002")
    ]
    assert said[0] != said[1]


def test_the_same_user_says_the_same_again() -> None:
    assert [talk(template).body for template in TEMPLATES] == [talk(template).body for template in TEMPLATES]


def test_the_applications_use_what_makes_a_migration_hard() -> None:
    agents, extractions, classifiers = of("coding-agent"), of("extraction"), of("classifier")
    assert all(template.body["tools"][-1]["cache_control"] for template in agents)
    assert any(template.body.get("thinking") for template in agents)
    assert all(
        template.body["messages"][-1] == {"role": "assistant", "content": "{"} for template in extractions
    )
    assert all(template.body["temperature"] == 0 for template in extractions + classifiers)
    assert all(template.body["tool_choice"]["type"] == "tool" for template in classifiers)
    assert any(template.body.get("thinking") and len(template.follow_ups) > 1 for template in of("chat"))
    assert all(len(json.dumps(template.body)) > 3000 for template in of("documents"))
    assert {bool(template.body.get("stream")) for template in TEMPLATES} == {True, False}


def test_a_shared_context_is_long_and_shared() -> None:
    template = of("coding-agent")[0]
    contexts = [talk(template, user).body["system"][1]["text"] for user in ("user-0001", "user-0002")]
    maps = [context.partition("\n")[2] for context in contexts]
    assert maps[0] == maps[1]
    assert len(maps[0]) > 15_000


def test_a_user_goes_on_where_the_answer_ended() -> None:
    template = next(template for template in of("chat") if len(template.follow_ups) == 3)
    conversation = talk(template)
    answer = [{"type": "thinking", "thinking": "", "signature": "s"}, {"type": "text", "text": "Well."}]
    turns = 0
    while conversation.go_on(answer):
        turns += 1
        roles = [message["role"] for message in conversation.body["messages"]]
        assert roles == ["user", *["assistant", "user"] * turns]
        assert conversation.body["messages"][-2]["content"] == answer
    assert (turns, conversation.turn) == (3, 3)


def test_a_tool_call_gets_its_result_before_the_user_speaks_again() -> None:
    template = next(template for template in of("coding-agent") if template.follow_ups)
    conversation = talk(template)
    call = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    for _ in template.tool_results:
        assert conversation.go_on([call])
        (result,) = conversation.body["messages"][-1]["content"]
        assert (result["type"], result["tool_use_id"]) == ("tool_result", "toolu_1")
        assert result["content"]
    assert conversation.go_on([{"type": "text", "text": "Done."}])
    assert conversation.body["messages"][-1]["content"][0]["type"] == "text"


def test_a_conversation_ends_when_there_is_nothing_more_to_say() -> None:
    conversation = talk(of("classifier")[0])
    assert not conversation.go_on([{"type": "tool_use", "id": "toolu_1", "name": "x", "input": {}}])
    assert not talk(of("chat")[0]).go_on([])


def test_an_earlier_body_is_not_changed_by_a_later_turn() -> None:
    conversation = talk(of("chat")[0])
    first = conversation.body
    conversation.go_on([{"type": "text", "text": "Well."}])
    assert len(first["messages"]) == 1


def test_a_folder_without_traffic_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clone"):
        load_templates(tmp_path)


@pytest.mark.parametrize(
    "line", ["{", '{"name": "a"}', '{"name": "a", "body": {}, "expects": "json", "odd": 1}', "[]"]
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str) -> None:
    good = json.dumps({"name": "a", "body": {}, "expects": "json"})
    (tmp_path / "app.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(ConfigError, match=r"app\.jsonl: line 2"):
        load_templates(tmp_path)
