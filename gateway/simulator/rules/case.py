"""One request as the rules see it, and the answer when a rule says no.

The front door, in this order; the first thing that is wrong is the answer:

1. a credential (`x-api-key` or `Authorization: Bearer`; any value passes) - 401 2. `anthropic-version`, one
of the published ones - 400 3. `anthropic-beta`, comma-separated, known values only - 400 4. the body: its
encoding, its size once decoded, JSON, an object - 400 or 413 5. `model`: present, in the catalogue, not
retired - 404, the same text whichever it is

What the model accepts comes after that (`judge`). A retirement date that has passed retires nobody: the
row's status does, so that a rehearsal gives the same answer on every day.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from gateway.compat.catalog import Catalogue, Model
from gateway.core.types import parse_json
from gateway.simulator.rules.lineup import MYTHOS_PREVIEW
from gateway.simulator.rules.switches import Switches

T = TypeVar("T")

Json = dict[str, Any]

EXTRA = "Extra inputs are not permitted"

MAX_BODY_BYTES = 32 * 1024 * 1024

SAMPLING_FREE_VERSION = "2026-10-21"
"""The API version under which no model takes sampling parameters."""
VERSIONS = ("2023-01-01", "2023-06-01", SAMPLING_FREE_VERSION)

KIND_BY_STATUS: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

BETAS = frozenset({
    "admin-user-sign-out-2026-10-08", "advanced-tool-use-2025-11-20", "advisor-tool-2026-03-01",
    "agent-memory-2026-07-22", "analytics-usage-cost-2026-08-24", "cache-diagnosis-2026-04-07",
    "ce-plugins-2026-09-01", "ce-user-management-2026-07-13", "claude-code-20250219",
    "code-execution-2025-05-22", "code-execution-2025-08-25", "compact-2026-01-12", "compact-2026-09-04",
    "computer-use-2024-10-22", "computer-use-2025-01-24", "computer-use-2025-11-24", "context-1m-2025-08-07",
    "context-management-2025-06-27", "dev-full-thinking-2025-05-14", "dreaming-2026-04-21",
    "effort-2025-11-24", "experimental-claude-tag-2026-10-21", "extended-cache-ttl-2025-04-11",
    "fallback-credit-2026-06-01", "fallback-credit-2026-07-01", "fast-mode-2026-02-01",
    "files-api-2025-04-14", "fine-grained-tool-streaming-2025-05-14", "inline-tools-2026-09-15",
    "interleaved-thinking-2025-05-14", "managed-agents-2026-04-01", "mcp-client-2025-04-04",
    "mcp-client-2025-11-20", "mcp-client-2026-09-15", "mcp-tunnels-2026-06-22", "message-batches-2024-09-24",
    "message-threads-2026-08-12", "mid-conversation-effort-2026-08-01",
    "mid-conversation-output-config-2026-07-01", "mid-conversation-system-clear-at-2026-08-21",
    "mid-conversation-tool-changes-2026-07-01", "model-context-window-exceeded-2025-08-26",
    "oauth-2025-04-20", "output-128k-2025-02-19", "output-300k-2026-03-24", "pdfs-2024-09-25",
    "per-turn-control-2026-07-01", "prompt-caching-2024-07-31", "server-side-fallback-2026-06-01",
    "server-side-fallback-2026-07-01", "skills-2025-10-02", "spend-limit-reads-2026-09-26",
    "structured-outputs-2025-11-13", "task-budgets-2026-03-13", "telemetry-destinations-2026-08-11",
    "thinking-binding-controls-2026-08-01", "thinking-display-updates-2026-08-18",
    "thinking-token-count-2026-05-13", "token-counting-2024-11-01", "token-efficient-tools-2025-02-19",
    "user-profiles-2026-03-24", "user-profiles-2026-08-18", "user-profiles-2026-09-04",
    "user-profiles-billing-2026-10-01", "web-fetch-2025-09-10", "webhooks-2026-10-07",
})  # fmt: skip
"""The `anthropic-beta` values that pass; any other one fails the whole request."""


class ApiError(Exception):
    """An answer in the error envelope; `kind` follows from the status."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_code: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = KIND_BY_STATUS.get(status, "api_error")
        self.message = message
        self.error_code = error_code
        self.details = {"error_code": error_code, **(details or {})} if error_code else None
        self.headers = headers

    @property
    def error(self) -> Json:
        """The `error` object of the envelope."""
        error: Json = {"type": self.kind, "message": self.message}
        if self.details:
            error["details"] = self.details
        return error


class Coded(str):
    """The message of a broken rule that has an error code of its own."""

    error_code: str

    def __new__(cls, message: str, error_code: str) -> "Coded":
        """A message that carries its code."""
        coded = super().__new__(cls, message)
        coded.error_code = error_code
        return coded


@dataclass(frozen=True, slots=True)
class Case:
    """A parsed request for a known model."""

    body: Json
    model: Model
    version: str
    betas: frozenset[str]
    switches: Switches
    counting: bool = False
    """count_tokens: nothing is generated, so `max_tokens` may be missing."""
    batched: bool = False
    """The params of one batch item."""
    account: str = ""
    """The organisation that asks."""
    workspace: str = ""
    end_user: str = ""
    """On whose behalf it asks, where that is said."""
    catalogue: Catalogue | None = None
    """Where the other models that a request may name are looked up."""
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What was worked out about it, once."""

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` says, asked for only once."""
        if name not in self.memo:
            self.memo[name] = make()
        found: T = self.memo[name]
        return found

    @property
    def messages(self) -> list[Json]:
        messages: list[Json] = self.body["messages"]
        return messages

    @property
    def thinking_type(self) -> str | None:
        """The `thinking.type` that was sent."""
        thinking = self.body.get("thinking")
        return thinking.get("type") if isinstance(thinking, dict) else None

    @property
    def thinks(self) -> bool:
        """Whether thinking is on, by request or by what leaving it out means here."""
        if self.thinking_type is None:
            return self.model.thinking.omitted == "adaptive"
        return self.thinking_type in ("enabled", "adaptive")

    @property
    def effort(self) -> str | None:
        """The effort in force: sent, or the model's default."""
        config = self.body.get("output_config")
        sent = config.get("effort") if isinstance(config, dict) else None
        return sent if isinstance(sent, str) else self.model.effort.default

    @property
    def forces_tool(self) -> bool:
        choice = self.body.get("tool_choice")
        return isinstance(choice, dict) and choice.get("type") in ("any", "tool")

    @property
    def output_format(self) -> Json | None:
        """The JSON schema format asked for, in either spelling."""
        config = self.body.get("output_config")
        chosen = config.get("format") if isinstance(config, dict) else None
        chosen = chosen or self.body.get("output_format")
        return chosen if isinstance(chosen, dict) else None


Rule = Callable[[Case], Iterator[str]]
"""Yields the message of each 400 that a request deserves; nothing when it deserves none."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers said that concerns the rules."""

    version: str
    betas: frozenset[str]
    account: str = ""
    workspace: str = ""
    """The part of the organisation, where that is said."""
    profile: str = ""
    """The end user's profile."""
    switches: Switches = field(default_factory=Switches)


def account_of(header: Mapping[str, str]) -> str:
    """The organisation of a credential: each key has its own."""
    return _organisation(
        (header.get("x-api-key") or header.get("authorization", "").partition(" ")[2]).strip()
    )


@lru_cache(maxsize=1024)
def _organisation(key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def end_user_of(body: Json, profile: str, switches: Switches) -> str:
    """On whose behalf a request is made, as far as blocks are bound to it."""
    if switches.end_user == "profile":
        return profile
    metadata = body.get("metadata")
    return str(metadata.get("user_id") or "") if isinstance(metadata, dict) else ""


def check_head(header: Mapping[str, str], switches: Switches) -> Head:
    """Return what the headers say, or raise what they lack (steps 1 to 3)."""
    if not header.get("x-api-key") and not header.get("authorization", "").lower().startswith("bearer "):
        raise ApiError(401, "x-api-key header is required")
    version = header.get("anthropic-version", "")
    if not version:
        raise ApiError(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise ApiError(400, f'anthropic-version: "{version}" is not a valid version')
    betas = frozenset(filter(None, (beta.strip() for beta in header.get("anthropic-beta", "").split(","))))
    unknown = sorted(betas - BETAS)
    if unknown and switches.known_betas_only:
        raise ApiError(400, f"Unexpected value(s) `{'`, `'.join(unknown)}` for the `anthropic-beta` header.")
    workspace = header.get("anthropic-workspace-id", "")
    profile = header.get("anthropic-user-profile-id", "")
    return Head(version, betas, account_of(header), workspace, profile, switches)


def read_body(data: bytes, encoding: str, *, limit: int = MAX_BODY_BYTES) -> Json:
    """Decode a request body into its JSON object (step 4)."""
    data = _decoded(data, encoding.strip().lower(), limit)
    try:
        body = parse_json(data)
    except ValueError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "The request body must be a JSON object")
    return body


def find_model(body: Json, catalogue: Catalogue, switches: Switches) -> Model:
    """The row of the requested model, or the 404 that unknown, retired and unentitled ids share (step 5)."""
    if "model" not in body:
        raise ApiError(400, "model: Field required")
    requested = body["model"]
    if not isinstance(requested, str):
        raise ApiError(400, "model: Input should be a valid string")
    model = catalogue.find(requested)
    if model is None or model.lifecycle.status == "retired" or not is_offered(model, switches):
        raise ApiError(404, f"model: {requested}")
    return model


def is_offered(model: Model, switches: Switches) -> bool:
    """Whether the organisation may know of a model."""
    gone = switches.preview_retired and model.id == MYTHOS_PREVIEW
    return not gone and (switches.verified_organisation or not model.verified_orgs_only)


def whole_numbers(body: Json) -> Json:
    """The body with `100.0` or `1e2` as 100 where an integer is meant: the API takes any spelling of one."""
    evened = dict(body)
    for key in ("max_tokens", "top_k"):
        if key in body:
            evened[key] = _whole(body[key])
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and "budget_tokens" in thinking:
        evened["thinking"] = {**thinking, "budget_tokens": _whole(thinking["budget_tokens"])}
    return evened


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _decoded(data: bytes, encoding: str, limit: int) -> bytes:
    if encoding in ("", "identity"):
        return data
    if encoding not in ("gzip", "deflate"):
        unsupported = f"Content-Encoding {encoding} is not supported"
        raise ApiError(400, unsupported, error_code="request_body_encoding_unsupported")
    inflater = zlib.decompressobj(wbits=31 if encoding == "gzip" else 15)
    invalid = ApiError(
        400, f"The request body is not valid {encoding}", error_code="request_body_encoding_invalid"
    )
    try:
        decoded = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise invalid from error
    if len(decoded) > limit:
        too_large = "request_body_too_large_after_decoding"
        raise ApiError(413, "Request exceeds the maximum size", error_code=too_large)
    if not inflater.eof:
        raise invalid
    return decoded
