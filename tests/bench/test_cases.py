"""Each case does what its name says; otherwise its time would be that of something else."""

import json
from typing import Any

import pytest

from bench.cases import Case, cases

SIZE = 20_000
CASES = {case.name: case for case in cases(SIZE)}


def sent(name: str) -> Any:
    return json.loads(CASES[name].run())


def asked(case: Case) -> Any:
    return json.loads(case.body)


def test_to_its_own_model_the_very_bytes_are_sent() -> None:
    assert CASES["own model"].run() is CASES["own model"].body


@pytest.mark.parametrize("name", ["fields", "prompt variant"])
def test_changed_fields_leave_the_messages_alone(name: str) -> None:
    was, now = asked(CASES[name]), sent(name)
    assert now["messages"] == was["messages"]
    assert now.keys() != was.keys() or now["system"] != was["system"]
    assert now["model"] == CASES[name].target.id


def test_a_begun_answer_is_said_in_the_turn_before() -> None:
    was, now = asked(CASES["begun answer"]), sent("begun answer")
    assert was["messages"][-1] == {"role": "assistant", "content": "{"}
    assert len(now["messages"]) == len(was["messages"]) - 1
    assert "<reply_start>{</reply_start>" in now["messages"][-1]["content"][-1]["text"]


def test_every_note_is_repeated() -> None:
    case = CASES["repeated notes"]
    assert case.notes
    written = json.dumps(sent(case.name)).count("Call one of the tools before you answer.")
    assert written == len(case.notes) > 1


def test_the_scanner_reads_what_is_measured() -> None:
    fields: Any = CASES["fields"].scan()
    assert list(fields) == list(asked(CASES["fields"]))
