"""Log lines that a machine can read, that name their request, and that hold no credential.

Modules log through the standard library: `logger.info("request done", extra={...})`. `configure` decides
once, at start, how a record is written: one JSON object per line, or one line for a person. The request's id
comes from `request_id`, which the middleware sets, so no function has to pass it along.

Redaction is the last step before the line is written and covers every field, the message and the traceback. A
field is judged by its name (`SECRET_FIELDS`) and any text by what it looks like (`SECRET_TEXT`); it errs on
the side of hiding.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that the running task serves; empty outside one."""

LogFormat = Literal["json", "console"]

REDACTED = "[redacted]"

SECRET_FIELDS = frozenset({
    "admin_token", "admin_tokens", "api_key", "authorization", "client_keys", "cookie", "credential",
    "password", "proxy_authorization", "secret", "set_cookie", "token", "upstream_api_key", "x_api_key",
    "x_gateway_token",
})  # fmt: skip
"""Field names, in lower case with underscores, whose whole value is hidden."""

SECRET_TEXT = (
    # A header that was printed: `x-api-key: ...`, `'authorization': 'Bearer ...'`, `(b'cookie', b'...')`.
    re.compile(
        r"""(?ix) ((?: api[-_]key | authorization | gateway-token | cookie ) (?: ["']? \s* [:=] | ["'], ) \s*
            (?: b?["'] )? (?: (?:bearer|basic) \s+ )? ) [^\s"',;&)}\]]+"""
    ),
    # A list of keys that was printed: `CLIENT_KEYS=app:...,batch:...`.
    re.compile(r"""(?i)((?:client_keys|admin_tokens?)["']?\s*[:=]\s*)(?:\[[^\]]*\]|"[^"]*"|'[^']*'|\S+)"""),
    re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]{8,}"),
    re.compile(r"()\bsk-[\w-]{6,}"),
    # Who a URL says that it is: `redis://user:password@host`. A password may hold a slash or a second `@`, so
    # it reaches to the last one; after a port, what looks like that is a path.
    re.compile(r"(\brediss?://)\S+(?=@)"),
    re.compile(r"(\w://)[^\s/@:]*:(?!\d+/)\S+(?=@)"),
    re.compile(r"(\w://)[^\s/]+(?=@)"),
    re.compile(r"(?i)([?&][\w-]*(?:passw|secret|token|key|credential)[\w-]*=)[^\s&\"']+"),
)
"""What a credential looks like inside text. The first group is kept, the rest of the match is hidden."""

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_OVERTALKATIVE = ("uvicorn.access", "httpx2", "httpcore2")
"""Loggers with a line per request of their own; the gateway's is the one that counts."""


def configure(level: str, format: LogFormat, *, stream: TextIO | None = None) -> None:
    """Send every log record of the process to `stream` (standard error), in one format, from `level` up."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else ConsoleFormatter())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level.upper())
    for name in _OVERTALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def redact(value: object, name: str = "") -> Any:
    """The same value as plain JSON data, with whatever looks like a credential replaced."""
    if name and name.lower().replace("-", "_") in SECRET_FIELDS and value not in (None, ""):
        return REDACTED
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return _redact_text(value)
        case bytes():
            return _redact_text(value.decode("utf-8", "backslashreplace"))
        case Mapping():
            return {_redact_text(_text(key)): redact(item, _text(key)) for key, item in value.items()}
        case [bytes() | str() as header, bytes() | str() as item]:
            return [_redact_text(_text(header)), redact(item, _text(header))]
        case list() | tuple() | set() | frozenset():
            return [redact(item) for item in value]
        case _:
            return _redact_text(str(value))


class JsonFormatter(logging.Formatter):
    """One JSON object per line: what happened, then the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _redact_text(record.getMessage()),
        }
        for name, value in _fields(record).items():
            line.setdefault(name, value)
        if error := _traceback(record):
            line["exception"] = error
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


class ConsoleFormatter(logging.Formatter):
    """One line for a person; a traceback follows on its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        fields = [
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in _fields(record).items()
        ]
        event = _redact_text(record.getMessage()).replace("\r", "\\r").replace("\n", "\\n")
        line = "  ".join([_timestamp(record), f"{record.levelname:<8}", event, *fields])
        error = _traceback(record)
        return f"{line}\n{error}" if error else line


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
    if current := request_id.get():
        extra = {"request_id": current, **extra}
    fields: dict[str, Any] = redact(extra)
    return fields


def _traceback(record: logging.LogRecord) -> str:
    return _redact_text(logging.Formatter().formatException(record.exc_info)) if record.exc_info else ""


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _redact_text(text: str) -> str:
    for pattern in SECRET_TEXT:
        text = pattern.sub(rf"\g<1>{REDACTED}", text)
    return text
