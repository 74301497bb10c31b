"""The rest of a JSON document that was begun.

`complete` writes what is missing after a beginning such as `{`, `[{"name": "A` or `{"total": 1`, wherever
it stops, to make it valid. The outermost object, in whatever arrays it stands, is the record: it gets the
fields that are wanted and not there yet.
"""

import re
from collections.abc import Mapping
from typing import Any

from gateway.core.types import to_json
from gateway.simulator.replies.documents import sample, wanted_schema


def complete(beginning: str, fields: Mapping[str, str], seed: bytes) -> str | None:
    """What makes `beginning` a valid JSON document that holds `fields`; None when nothing can."""
    reader = _Reader()
    if not all(reader.read(character) for character in beginning):
        return None
    return _Writer(reader, sample(wanted_schema(fields), seed)).rest()


class _Reader:
    """How far into a JSON document a beginning goes."""

    def __init__(self) -> None:
        self.open: list[str] = []
        """The brackets that are open, outermost first."""
        self.expects = "value"
        """`value`, `key`, `colon` or `after`; `value?` and `key?` where the bracket may also close at
        once."""
        self.keys: list[str] = []
        """The keys of the record so far: the outermost object, in whatever arrays it stands."""
        self.string: list[str] | None = None
        """The characters of the string that is open."""
        self.escape = ""
        """The escape sequence that is open."""
        self.literal = ""
        """The number or word that may still go on."""

    @property
    def in_record(self) -> bool:
        return self.open[-1:] == ["{"] and self.open.count("{") == 1

    def read(self, character: str) -> bool:
        """Take the next character; False when no document goes on like this."""
        if self.string is not None:
            return self._in_string(self.string, character)
        if self.literal and (character.isalnum() or character in "+-."):
            self.literal += character
            return _may_be_literal(self.literal)
        self.end_literal()
        if character in " \t\r\n":
            return True
        if character in "]}":
            return self._closes(character)
        return self._token(character)

    def end_literal(self) -> None:
        """A number or word ends where something else begins."""
        if self.literal:
            self.literal, self.expects = "", "after"

    def _in_string(self, string: list[str], character: str) -> bool:
        if self.escape:
            self.escape += character
            if self.escape[1] != "u" or len(self.escape) == 6:
                self.escape = ""
        elif character == "\\":
            self.escape = character
        elif character == '"':
            self.end_string(string)
        else:
            string.append(character)
            return character >= " "
        return True

    def end_string(self, string: list[str]) -> None:
        """A closing quote: a key is followed by its colon, a value by whatever comes after values."""
        if self.expects.startswith("key"):
            if self.in_record:
                self.keys.append("".join(string))
            self.expects = "colon"
        else:
            self.expects = "after"
        self.string = None

    def _closes(self, character: str) -> bool:
        allowed = {"]": ("value?", "after"), "}": ("key?", "after")}[character]
        if not self.open or self.open.pop() != {"]": "[", "}": "{"}[character] or self.expects not in allowed:
            return False
        self.expects = "after"
        return True

    def _token(self, character: str) -> bool:
        if character == ":" and self.expects == "colon":
            self.expects = "value"
        elif character == "," and self.expects == "after" and self.open:
            self.expects = "key" if self.open[-1] == "{" else "value"
        elif character == '"' and self.expects not in ("colon", "after"):
            self.string = []
        elif self.expects not in ("value", "value?"):
            return False
        elif character in "[{":
            self.open.append(character)
            if self.in_record:
                self.keys = []
            self.expects = "key?" if character == "{" else "value?"
        else:
            self.literal = character
            return _may_be_literal(character)
        return True


def _may_be_literal(text: str) -> bool:
    if text[0].isalpha():
        return any(word.startswith(text) for word in ("true", "false", "null"))
    return (
        re.fullmatch(r"-?(0|[1-9]\d*)?(\.\d*)?([eE][+-]?\d*)?", text) is not None and text[0] in "-0123456789"
    )


class _Writer:
    """Writes the rest of a document from where a reader stands, with values from `document`."""

    def __init__(self, reader: _Reader, document: dict[str, Any]) -> None:
        self._reader = reader
        self._document = document
        self._out: list[str] = []

    def rest(self) -> str:
        self._end_token()
        reader = self._reader
        if reader.expects == "colon":
            self._out.append(f": {_json(self._value())}")
        elif reader.expects in ("value", "value?"):
            self._out.append(_json(self._value()))
        elif reader.expects == "key" and not reader.in_record:
            self._out.append(f'"note": {_json("summary")}')
        record = reader.open.index("{") if "{" in reader.open else len(reader.open)
        self._close(reader.open[record + 1 :])
        if record < len(reader.open):
            self._missing_fields(first=reader.in_record and reader.expects in ("key", "key?"))
            self._close(reader.open[record : record + 1])
        self._close(reader.open[:record])
        return "".join(self._out)

    def _value(self) -> Any:
        """What goes where a value is due: a field's, a whole record, or any word deeper inside."""
        reader = self._reader
        if reader.in_record:
            return self._document.get(reader.keys[-1], "summary")
        return "summary" if "{" in reader.open else self._document

    def _close(self, brackets: list[str]) -> None:
        self._out += ["]" if bracket == "[" else "}" for bracket in reversed(brackets)]

    def _missing_fields(self, *, first: bool) -> None:
        missing = {key: value for key, value in self._document.items() if key not in self._reader.keys}
        if first and self._reader.expects == "key" and not missing:
            missing = {"note": "summary"}
        pairs = ", ".join(f"{_json(key)}: {_json(value)}" for key, value in missing.items())
        self._out.append(("" if first else ", ") + pairs if pairs else "")

    def _end_token(self) -> None:
        reader = self._reader
        if reader.string is not None:
            if reader.escape:
                self._out.append("n" if len(reader.escape) == 1 else "0" * (6 - len(reader.escape)))
            ending = self._ending("".join(reader.string))
            self._out.append(f'{ending}"')
            reader.end_string([*reader.string, *ending])
        elif reader.literal:
            word = next((word for word in ("true", "false", "null") if word.startswith(reader.literal)), "")
            digit = "" if reader.literal[-1].isdigit() else "1"
            self._out.append(word[len(reader.literal) :] if word else digit)
            reader.end_literal()

    def _ending(self, begun: str) -> str:
        """The rest of the open string: of a wanted key that begins like this, or else any word."""
        if self._reader.in_record and self._reader.expects in ("key", "key?"):
            wanted = (key for key in self._document if key not in self._reader.keys and key.startswith(begun))
            return next(wanted, f"{begun}_note")[len(begun) :]
        return " summary" if begun else "summary"


def _json(value: Any) -> str:
    return to_json(value).decode()
