"""What the API keeps beside messages: models and files.

Models are the catalogue's rows as the Models API shows them, retired ones among them, newest first. Files
exist so that a gateway can be shown to pass bytes through: what is uploaded comes back byte for byte, and
its digest is told. A body that is no multipart form is a file as a whole.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import parse_qs

from gateway.compat.catalog import EFFORTS, Model
from gateway.simulator.rules.case import ApiError, Json
from gateway.simulator.rules.options import FALLBACK_BETA, FALLBACKS

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_STORED_BYTES = 256 * 1024 * 1024
MAX_PAGE = 1000
THINKING_TYPES = ("adaptive", "between_tools", "disabled", "enabled")

_DATED = re.compile(r"-(\d{4})(\d{2})(\d{2})$")
_BOUNDARY = re.compile(r'multipart/form-data;.*boundary="?([^";]+)"?', re.IGNORECASE)
_FILENAME = re.compile(rb'filename="([^"]*)"')
_PART_TYPE = re.compile(rb"(?im)^content-type:\s*([^\r\n]+)")


def page(items: Sequence[Json], query: str, *, key: str = "id") -> Json:
    """A part of a list as `limit`, `after_id` and `before_id` ask for."""
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    limit = asked.get("limit", "20")
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_PAGE:
        raise ApiError(400, f"limit: Input should be between 1 and {MAX_PAGE}")
    ids = [item[key] for item in items]
    for name in ("after_id", "before_id"):
        if name in asked and asked[name] not in ids:
            raise ApiError(400, f"{name}: no such id")
    count = int(limit)
    if "before_id" in asked:
        end = ids.index(asked["before_id"])
        start, more = max(0, end - count), end > count
    else:
        start = ids.index(asked["after_id"]) + 1 if "after_id" in asked else 0
        end, more = start + count, start + count < len(ids)
    data = list(items[start:end])
    first, last = (data[0][key], data[-1][key]) if data else (None, None)
    return {"data": data, "has_more": more, "first_id": first, "last_id": last}


# --- models -------------------------------------------------------------------------------------------------


def model_object(model: Model, betas: frozenset[str] = frozenset()) -> Json:
    """One row; where the catalogue does not know, every current model is taken to be able.

    Those who ask for fallbacks are told whom the model hands over to.
    """
    shown = _model_object(model)
    if any(beta.startswith(FALLBACK_BETA) for beta in betas):
        shown["allowed_fallback_models"] = list(FALLBACKS.get(model.id, ()))
    return shown


def _model_object(model: Model) -> Json:
    life = model.lifecycle
    dated = _DATED.search(model.id)
    created = date(*(int(part) for part in dated.groups())) if dated else date(1970, 1, 1)
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": _midnight(created),
        "lifecycle": life.status,
        "deprecated_at": None if life.status == "active" else _midnight(date(1970, 1, 1)),
        "retires_at": _midnight(life.retires_on) if life.retires_on and life.status != "active" else None,
        "line": None if model.line == "claude" else model.line,
        "max_input_tokens": model.context_tokens,
        "max_tokens": model.max_output_tokens,
        "capabilities": _capabilities(model),
    }


def _capabilities(model: Model) -> Json:
    able, unable = {"supported": True}, {"supported": False}
    thinks = bool(model.thinking.types - {"disabled"})
    compacts = able if model.context_tokens > 200_000 else unable
    levels = {level: {"supported": level in model.effort.levels} for level in EFFORTS}
    types = {kind: {"supported": kind in model.thinking.types} for kind in THINKING_TYPES}
    structured = model.lifecycle.status != "retired"
    return {
        "batch": able,
        "citations": able,
        "code_execution": unable if (model.line, model.tokenizer) == ("haiku", "old") else able,
        "compaction": compacts,
        "context_management": {
            "supported": True,
            "clear_thinking_20251015": able,
            "clear_tool_uses_20250919": able,
            "compact_20260112": compacts,
        },
        "effort": {"supported": bool(model.effort.levels), **levels},
        "image_input": able,
        "pdf_input": able,
        "server_tools": {"supported": True, "code_execution": able, "web_search": able},
        "structured_outputs": {"supported": structured},
        "thinking": {"supported": thinks, "types": types},
    }


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


# --- files --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One upload."""

    metadata: Json
    content: bytes


class Files:
    """The uploads, the oldest forgotten first when there is no more room."""

    def __init__(self, *, room_bytes: int = MAX_STORED_BYTES) -> None:
        self._room_bytes = room_bytes
        self._files: OrderedDict[str, StoredFile] = OrderedDict()
        self._stored_bytes = 0
        self._count = 0

    def add(self, body: bytes, content_type: str, now: float) -> Json:
        """Keep an upload and return what is known of it."""
        name, kind, content = _file_in(body, content_type)
        self._count += 1
        digest = hashlib.sha256(content).hexdigest()
        file_id = f"file_{hashlib.sha256(f'{self._count} {digest}'.encode()).hexdigest()[:24]}"
        metadata: Json = {
            "id": file_id,
            "type": "file",
            "filename": name,
            "mime_type": kind,
            "size_bytes": len(content),
            "created_at": rfc3339(now),
            "downloadable": True,
            "sha256": digest,
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "body_bytes": len(body),
        }
        self._files[file_id] = StoredFile(metadata, content)
        self._stored_bytes += len(content)
        while self._stored_bytes > self._room_bytes:
            _, oldest = self._files.popitem(last=False)
            self._stored_bytes -= len(oldest.content)
        return metadata

    def find(self, file_id: str) -> StoredFile:
        """An upload, or 404."""
        if file_id not in self._files:
            raise ApiError(404, f"File not found: {file_id}")
        return self._files[file_id]

    def delete(self, file_id: str) -> Json:
        """Forget an upload."""
        self._stored_bytes -= len(self.find(file_id).content)
        del self._files[file_id]
        return {"id": file_id, "type": "file_deleted"}

    def all(self) -> list[Json]:
        """What is known of all uploads, newest first."""
        return [stored.metadata for stored in reversed(self._files.values())]


def _file_in(body: bytes, content_type: str) -> tuple[str, str, bytes]:
    """Name, type and content of the first file of a multipart form, or of the whole body."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return "upload", content_type or "application/octet-stream", body
    for part in body.split(b"--" + boundary[1].encode())[1:]:
        head, separator, content = part.partition(b"\r\n\r\n")
        name, kind = _FILENAME.search(head), _PART_TYPE.search(head)
        if separator and name:
            mime = kind[1].decode("latin-1").strip() if kind else "application/octet-stream"
            return name[1].decode("utf-8", "replace"), mime, content.removesuffix(b"\r\n")
    raise ApiError(400, "file: Field required")


def rfc3339(epoch_s: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
