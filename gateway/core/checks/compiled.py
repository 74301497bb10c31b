"""The checks of a migration, compiled once, and what they say of one answer.

    json              the text is one JSON value: whitespace around it passes, words and code fences do not
    json_schema       the same, and the value satisfies the schema
    regex             the text holds the pattern somewhere
    max_chars         the text is no longer
    not_empty         the text is more than whitespace
    tool_input_valid  the input of every tool call is an object that satisfies the tool's schema
    tool_error        built in, for every request with tools: `tool_input_valid`, and each tool was offered

A check says yes, no, or nothing where it does not apply; what does not apply is neither passed nor failed:

- a refusal, and a turn that is only paused or summed up, is judged by no check;
- an answer that calls tools has no text to be judged yet: what it says beside its calls is a note;
- without calls there are no tool calls to be judged; nor are calls that `max_tokens` may have cut.

JSON that `max_tokens` has cut is broken, also where what is left could be read.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gateway.core.booking import TOOL_ERROR
from gateway.core.checks.schemas import Schema, Tools, pattern, read_tools
from gateway.core.spec import Check, CheckKind
from gateway.core.tap import AnswerCopy
from gateway.core.types import parse_json

_UNFINISHED = frozenset({"refusal", "pause_turn", "compaction"})
_CUT = frozenset({"max_tokens", "model_context_window_exceeded"})
_MISSING = object()


class _Answer:
    """One answer while it is judged; what several checks need is read once."""

    def __init__(self, copy: AnswerCopy) -> None:
        self.text, self.calls = copy.text, copy.tool_calls
        self.cut = copy.stop_reason in _CUT
        self.over = copy.stop_reason not in _UNFINISHED
        self._tools = copy.tools

    @cached_property
    def value(self) -> Any:
        """What the text says as JSON, or `_MISSING`."""
        return _MISSING if self.cut else _parsed(self.text)

    @cached_property
    def inputs(self) -> list[tuple[str, Any]]:
        """The tools that are called, with their inputs."""
        return [(call.name, _parsed(call.input_json)) for call in self.calls]

    @cached_property
    def tools(self) -> Tools | None:
        """What was offered; None where nobody can say."""
        return read_tools(self._tools)


Test = Callable[[_Answer], bool]


@dataclass(frozen=True, slots=True)
class Compiled:
    """One check, ready to be asked."""

    name: str
    task: str
    """Empty: every request."""
    of_calls: bool
    """Whether it judges tool calls; else text."""
    test: Test

    def covers(self, task: str) -> bool:
        """Tell whether answers for this task are judged."""
        return self.task in ("", task)


def compile_checks(checks: Iterable[Check]) -> tuple[Compiled, ...]:
    """Return checks ready to be asked; raises ValueError naming the place and the reason."""
    compiled: list[Compiled] = []
    for index, check in enumerate(checks):
        field, make = _MAKERS[check.kind]
        try:
            test = make(check)
        except ValueError as error:
            raise ValueError(f"checks.{index}.{field}: {error}") from None
        of_calls = check.kind == "tool_input_valid"
        compiled.append(Compiled(check.name or check.kind, check.task, of_calls, test))
    return tuple(compiled)


def judge(checks: Iterable[Compiled], copy: AnswerCopy) -> dict[str, bool]:
    """Return what each check that applies says of an answer: whether it is as it should be."""
    answer = _Answer(copy)
    if not answer.over:
        return {}
    applicable = [check for check in checks if check.covers(copy.task) and _applies(check.of_calls, answer)]
    said = {check.name: check.test(answer) for check in applicable}
    if _applies(True, answer):
        said[TOOL_ERROR] = _offered(answer) and _inputs_valid(answer)
    return said


def _applies(of_calls: bool, answer: _Answer) -> bool:
    if of_calls:
        return bool(answer.calls) and not answer.cut and answer.tools is not None
    return not answer.calls


def _offered(answer: _Answer) -> bool:
    tools = answer.tools
    return tools is not None and all(tools.offers(call.name) for call in answer.calls)


def _inputs_valid(answer: _Answer) -> bool:
    tools = answer.tools
    return tools is not None and all(tools.accepts(name, given) for name, given in answer.inputs)


def _parsed(text: str | bytes) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return _MISSING


def _json(_check: Check) -> Test:
    return lambda answer: answer.value is not _MISSING


def _json_schema(check: Check) -> Test:
    if not check.schema.strip():
        raise ValueError("a check of kind json_schema needs a schema")
    document = _parsed(check.schema)
    if document is _MISSING:
        raise ValueError("the schema is not JSON")
    schema = Schema(document)
    return lambda answer: answer.value is not _MISSING and schema.accepts(answer.value)


def _regex(check: Check) -> Test:
    if not check.pattern:
        raise ValueError("a check of kind regex needs a pattern")
    wanted = pattern(check.pattern)
    return lambda answer: wanted.accepts(answer.text)


def _max_chars(check: Check) -> Test:
    if check.max_chars < 1:
        raise ValueError("a check of kind max_chars needs a number of characters, 1 or more")
    return lambda answer: len(answer.text) <= check.max_chars


def _not_empty(_check: Check) -> Test:
    return lambda answer: bool(answer.text.strip())


def _tool_input_valid(_check: Check) -> Test:
    return _inputs_valid


_MAKERS: Mapping[CheckKind, tuple[str, Callable[[Check], Test]]] = {
    "json": ("kind", _json),
    "json_schema": ("schema", _json_schema),
    "regex": ("pattern", _regex),
    "max_chars": ("max_chars", _max_chars),
    "not_empty": ("kind", _not_empty),
    "tool_input_valid": ("kind", _tool_input_valid),
}
"""Kind → the field that a mistake is in, and how its test is made."""
