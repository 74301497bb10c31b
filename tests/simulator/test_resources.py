import hashlib

import pytest

from gateway.simulator.resources import Files, model_object, page
from gateway.simulator.rules.case import ApiError
from tests.support.judged import catalogue

ITEMS = [{"id": name} for name in "abcde"]


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        ("", "abcde", False),
        ("limit=2", "ab", True),
        ("limit=2&after_id=b", "cd", True),
        ("limit=2&after_id=d", "e", False),
        ("limit=2&before_id=d", "bc", True),
        ("limit=2&before_id=c", "ab", False),
        ("after_id=e", "", False),
    ],
)
def test_a_page_of_a_list(query: str, ids: str, more: bool) -> None:
    found = page(ITEMS, query)
    assert "".join(item["id"] for item in found["data"]) == ids
    assert found["has_more"] is more
    assert (found["first_id"], found["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("limit=0", "limit: "),
        ("limit=1001", "limit: "),
        ("limit=x", "limit: "),
        ("after_id=z", "after_id: no such id"),
    ],
)
def test_a_page_that_does_not_exist(query: str, complaint: str) -> None:
    with pytest.raises(ApiError, match=complaint):
        page(ITEMS, query)


def shown(name: str) -> dict[str, object]:
    model = catalogue().find(name)
    assert model is not None
    return model_object(model)


def test_a_model_object_agrees_with_the_catalogue() -> None:
    for model in catalogue().models:
        shown = model_object(model)
        able = shown["capabilities"]
        assert (shown["id"], shown["type"], shown["lifecycle"]) == (model.id, "model", model.lifecycle.status)
        assert (shown["max_input_tokens"], shown["max_tokens"]) == (
            model.context_tokens,
            model.max_output_tokens,
        )
        types = {kind for kind, state in able["thinking"]["types"].items() if state["supported"]}
        assert types == model.thinking.types
        levels = {
            level for level, state in able["effort"].items() if level != "supported" and state["supported"]
        }
        assert levels == set(model.effort.levels)
        assert able["effort"]["supported"] is bool(model.effort.levels)


def test_a_model_object_has_every_capability() -> None:
    assert set(shown("claude-opus-5-5")["capabilities"]) == {  # type: ignore[call-overload]
        "batch", "citations", "code_execution", "compaction", "context_management", "effort", "image_input",
        "pdf_input", "server_tools", "structured_outputs", "thinking",
    }  # fmt: skip


def test_dates_come_from_the_row_or_are_unknown() -> None:
    old, new, leaving = shown("claude-opus-4-5"), shown("claude-opus-5-5"), shown("claude-sonnet-4-5")
    assert (old["created_at"], new["created_at"]) == ("2025-11-01T00:00:00Z", "1970-01-01T00:00:00Z")
    assert (new["deprecated_at"], new["retires_at"]) == (None, None)
    assert leaving["retires_at"] == "2026-11-30T00:00:00Z"


BYTES = bytes(range(256)) + b"\r\n--not the boundary\r\n"


def form(content: bytes, head: str = 'form-data; name="file"; filename="a b.bin"') -> tuple[bytes, str]:
    body = b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\ntest\r\n--xyz\r\n'
    body += f"Content-Disposition: {head}\r\nContent-Type: application/x-a\r\n\r\n".encode() + content
    return body + b"\r\n--xyz--\r\n", "multipart/form-data; boundary=xyz"


def test_a_file_in_a_form_comes_back_byte_for_byte() -> None:
    files = Files()
    body, kind = form(BYTES)
    known = files.add(body, kind, 0.0)
    assert (known["filename"], known["mime_type"], known["size_bytes"]) == (
        "a b.bin",
        "application/x-a",
        len(BYTES),
    )
    assert known["sha256"] == hashlib.sha256(BYTES).hexdigest()
    assert (known["body_sha256"], known["body_bytes"]) == (hashlib.sha256(body).hexdigest(), len(body))
    assert files.find(known["id"]).content == BYTES


def test_a_plain_body_is_a_file() -> None:
    files = Files()
    known = files.add(BYTES, "application/x-b", 0.0)
    assert known["sha256"] == known["body_sha256"]
    assert known["mime_type"] == "application/x-b"
    assert files.find(known["id"]).content == BYTES


def test_a_form_without_a_file_is_refused() -> None:
    body, kind = form(BYTES, 'form-data; name="file"')
    with pytest.raises(ApiError, match="file: Field required"):
        Files().add(body, kind, 0.0)


def test_files_are_listed_newest_first_and_deleted() -> None:
    files = Files()
    one, two = (files.add(data, "", 0.0)["id"] for data in (b"1", b"1"))
    assert [known["id"] for known in files.all()] == [two, one]
    assert files.delete(one) == {"id": one, "type": "file_deleted"}
    with pytest.raises(ApiError, match=f"File not found: {one}"):
        files.find(one)


def test_there_is_room_for_so_many_bytes() -> None:
    files = Files(room_bytes=10)
    ids = [files.add(b"four", "", 0.0)["id"] for _ in range(3)]
    assert [known["id"] for known in files.all()] == [ids[2], ids[1]]
