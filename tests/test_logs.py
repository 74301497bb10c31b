import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import logs

SECRET = "sk-ant-api03-Zm9vYmFy_Z9-x"
logger = logging.getLogger("gateway.test")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def written(format: logs.LogFormat, log: Callable[[], object], level: str = "info") -> str:
    stream = io.StringIO()
    logs.configure(level, format, stream=stream)
    log()
    return stream.getvalue()


def line_of(log: Callable[[], object]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(written("json", log))
    return line


def test_a_json_line_carries_the_event_and_its_fields() -> None:
    line = line_of(lambda: logger.info("request %s", "done", extra={"status": 200, "tokens": [1, 2]}))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {
        "level": "info", "logger": "gateway.test", "event": "request done", "status": 200, "tokens": [1, 2],
    }  # fmt: skip


def test_a_field_cannot_forge_what_the_record_says_of_itself() -> None:
    assert (
        line_of(lambda: logger.warning("true", extra={"event": "false", "level": "debug"}))["event"] == "true"
    )


def test_the_request_id_is_in_every_line_written_while_it_is_set() -> None:
    token = logs.request_id.set("req_1")
    try:
        assert line_of(lambda: logger.info("inside"))["request_id"] == "req_1"
        assert 'request_id="req_1"' in written("console", lambda: logger.info("inside"))
    finally:
        logs.request_id.reset(token)
    assert "request_id" not in line_of(lambda: logger.info("outside"))


@pytest.mark.parametrize("format", ["json", "console"])
def test_an_event_stays_on_one_line_whatever_the_client_sent(format: logs.LogFormat) -> None:
    text = written(format, lambda: logger.info("bad\r\nfield", extra={"path": "/v1\nINFO forged"}))
    assert text.count("\n") == 1


def test_values_without_a_json_form_are_written_as_text() -> None:
    line = line_of(
        lambda: logger.info("odd", extra={"ratio": float("nan"), "kind": ValueError, "raw": b"\xff"})
    )
    assert (line["ratio"], line["kind"], line["raw"]) == ("nan", "<class 'ValueError'>", "\\xff")


def test_lines_below_the_level_are_not_written() -> None:
    assert written("json", lambda: logger.info("quiet"), level="warning") == ""


@pytest.mark.parametrize("name", ["httpx2", "uvicorn.access"])
def test_libraries_do_not_add_a_line_per_request(name: str) -> None:
    assert written("json", lambda: logging.getLogger(name).info("GET / 200")) == ""


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_is_written_and_redacted(format: logs.LogFormat) -> None:
    def fail() -> None:
        try:
            raise ValueError(f"rejected {SECRET}")
        except ValueError:
            logger.exception("failed")

    text = written(format, fail)
    assert "ValueError: rejected [redacted]" in text
    assert SECRET not in text


CREDENTIALS: list[object] = [
    SECRET,
    SECRET.encode(),
    f"key={SECRET}, next",
    f"https://host/?api_key={SECRET}&page=2",
    f"Authorization: Bearer {SECRET}",
    "authorization: Basic Zm9vYmFyZm9vYmFy",
    "bearer Zm9vYmFyZm9vYmFy",
    "{'x-api-key': 'Zm9vYmFyZm9vYmFy'}",
    "[(b'x-api-key', b'Zm9vYmFyZm9vYmFy')]",
    '{"x-gateway-token":"Zm9vYmFyZm9vYmFy"}',
    "redis://default:Zm9vYmFyZm9vYmFy@store:6379/0",
    "redis://default:Zm9vYmFy/Zm9vYmFy@store:6379/0",
    "redis://:1/Zm9vYmFy@Zm9vYmFy@store:6379/0",
    "redis://Zm9vYmFyZm9vYmFy@store:6379/0",
    "redis://store:6379/0?password=Zm9vYmFyZm9vYmFy",
    "https://user:Zm9vYmFy/Zm9vYmFy@host/x",
    "https://Zm9vYmFyZm9vYmFy@host/x",
    {"x-api-key": "Zm9vYmFyZm9vYmFy"},
    {b"Authorization": b"Zm9vYmFyZm9vYmFy"},
    {"headers": [(b"X-Api-Key", b"Zm9vYmFyZm9vYmFy")]},
    "GATEWAY_CLIENT_KEYS=app:Zm9vYmFyZm9vYmFy,batch:Zm9vYmFyZm9vYmFy",
    {"settings": {"UPSTREAM_API_KEY": "Zm9vYmFyZm9vYmFy", "admin_tokens": ["ops:admin:Zm9vYmFyZm9vYmFy"]}},
    {SECRET: 1},
    ValueError(f"refused {SECRET}"),
]


@pytest.mark.parametrize("value", CREDENTIALS, ids=range(len(CREDENTIALS)))
@pytest.mark.parametrize("format", ["json", "console"])
def test_no_credential_is_written(format: logs.LogFormat, value: object) -> None:
    for text in (
        written(format, lambda: logger.info("field", extra={"detail": value})),
        written(format, lambda: logger.info("message %s", value)),
    ):
        assert "[redacted]" in text
        assert "Zm9vYmFy" not in text


@pytest.mark.parametrize(
    "value",
    [
        {"input_tokens": 12, "max_tokens": 4096, "time_to_first_token": 0.2, "token": None},
        "the task-force asked a bearer of news about https://docs.example:8080/path@2x",
        ["claude-opus-4-5", "req_011", ["a", "b"]],
        True,
    ],
)
def test_what_is_no_credential_is_left_alone(value: object) -> None:
    assert logs.redact(value) == value


keys = st.from_regex(r"sk-[A-Za-z0-9_-]{20,60}", fullmatch=True)
around = st.text(st.characters(exclude_categories=["L", "N", "Cs"], exclude_characters="_"))
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def assert_key_never_survives(key: str, before: str, after: str, beside: object) -> None:
    redacted = json.dumps(
        logs.redact({"a": [before + key + after, beside], "b": {"c": key}}), allow_nan=False
    )
    assert key not in redacted


@given(keys, around, around, json_like)
def test_a_key_survives_nowhere(key: str, before: str, after: str, beside: object) -> None:
    assert_key_never_survives(key, before, after, beside)


@pytest.mark.full
@pytest.mark.timeout(300)
@settings(max_examples=2_000)
@given(keys, around, around, json_like)
def test_a_key_survives_nowhere_in_many_more_surroundings(
    key: str, before: str, after: str, beside: object
) -> None:
    assert_key_never_survives(key, before, after, beside)
