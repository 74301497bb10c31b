"""The text of an answer whose beginning the application gave, without that beginning.

A model that was told to begin with those characters repeats them (or not), so they are removed where they
stand, and only there:

* Leading whitespace does not matter; in JSON, whitespace between tokens does not either.
* A JSON answer may come in a code fence: the fence is taken off, the closing one too where it ends the
  text. A prefill that is itself the opening of a fence keeps it.
* An answer that does not begin with the prefill is a continuation and stays whole. So does one that only
  seems to repeat it: after the prefill `[`, the text `[1],[2]]` is the rest of an array, not the array.
  There the text is read to the end of its first value; what follows it decides.

`TextRestorer` takes the text in pieces and gives out what is decided, so a stream and a JSON body are
restored by the same steps.
"""

import re
from typing import Protocol

from gateway.compat.answer.plan import AnswerPlan

_SPACES = " \t\r\n"
_OPEN_FENCE = re.compile(r"```(?:json)?[ \t]*\r?\n?")
_FENCE_LINE = re.compile(r"```\w{0,20}[ \t]*\r?\n")
_HALF_FENCE = re.compile(r"`{1,3}|```\w{0,20}[ \t]*\r?")
_QUOTE = re.compile(r'\\.|"', re.DOTALL)
_IN_STRING = re.compile(r'["\\]')
_BETWEEN_STRINGS = re.compile(r'["\[\]{}]')


class TextRestorer:
    """Gives out the first text of an answer without its prefill, each piece as soon as it is decided."""

    __slots__ = ("_fenced", "_held", "_opening", "_passing")

    def __init__(self, plan: AnswerPlan) -> None:
        self._opening = _Opening(plan)
        self._held = ""
        """Before the decision: the whole text. In a fence: an end that may be the closing fence."""
        self._passing = False
        self._fenced = False

    @property
    def decided(self) -> bool:
        """True when it is known whether the text repeats the prefill."""
        return self._passing

    @property
    def settled(self) -> bool:
        """True when everything that comes is given out as it comes."""
        return self._passing and not self._fenced

    def feed(self, text: str) -> str:
        """Take the next piece and return what can be given out."""
        if self.settled:
            return text
        self._held += text
        if not self._passing:
            self._decide(final=False)
        if not self._passing:
            return ""
        end = _before_fence(self._held) if self._fenced else len(self._held)
        out, self._held = self._held[:end], self._held[end:]
        return out

    def finish(self) -> str:
        """Return the rest: there is no more text."""
        if not self._passing:
            self._decide(final=True)
        rest, self._held = self._held, ""
        if self._fenced and rest[_before_fence(rest) :].strip() == "```":
            return rest[: _before_fence(rest)]
        return rest

    def _decide(self, *, final: bool) -> None:
        cut = self._opening.cut(self._held, final=final)
        if cut is not None:
            self._passing, self._fenced = True, self._opening.fenced
            self._held = self._held[cut:]


class _Opening:
    """Finds where, in a growing text, the part begins that the application has not got yet."""

    __slots__ = ("_match", "_otherwise", "_plan", "fenced")

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._match: _Match | None = None
        self._otherwise = 0
        """What is cut off where the prefill is not repeated: nothing, or the opening fence."""
        self.fenced = False
        """An opening fence is cut off."""

    def cut(self, held: str, *, final: bool) -> int | None:
        """Return how many characters to remove from the front; None until more text decides it."""
        if self._match is None:
            self._match = self._begin(held)
            if self._match is not None and self._plan.quoted:
                start = len(held) - len(held.lstrip())
                self._match = _Either(self._match, _RepeatedText(self._plan.quoted.lstrip(), start))
        if self._match is None:
            return 0 if final else None
        end = self._match.end(held, final=final)
        if end is None:
            return None
        self.fenced = self.fenced and bool(end or self._otherwise)
        return end or self._otherwise

    def _begin(self, held: str) -> "_Match | None":
        """Choose, once the text has begun, what to compare; None while that is open."""
        prefill = self._plan.prefill.lstrip()
        start = len(held) - len(held.lstrip())
        if start == len(held):
            return None
        if self._plan.intent != "json":
            return _RepeatedText(prefill, start)
        opened = _OPEN_FENCE.match(prefill)
        if held[start] != "`":
            return _RepeatedJson(prefill[opened.end() :] if opened else prefill, start)
        if opened:
            return _RepeatedText(prefill, start)
        fence = _FENCE_LINE.match(held, start)
        if fence is None:
            return None if _HALF_FENCE.fullmatch(held, start) else _RepeatedText("", start)
        repeated = _RepeatedJson(prefill, fence.end())
        self._otherwise = 0 if repeated.ends_in_string else fence.end()
        self.fenced = True
        return repeated


class _Match(Protocol):
    """Compares a growing text with what it may repeat."""

    def end(self, held: str, *, final: bool) -> int | None:
        """Return where the repetition ends, 0 where there is none, None while that is open."""


class _Either:
    """Compares with several things: the first that is repeated counts."""

    __slots__ = ("_open",)

    def __init__(self, *matches: _Match) -> None:
        self._open = list(matches)

    def end(self, held: str, *, final: bool) -> int | None:
        for match in tuple(self._open):
            end = match.end(held, final=final)
            if end:
                return end
            if end == 0:
                self._open.remove(match)
        return None if self._open else 0


class _RepeatedText:
    """Compares a growing text with the prefill, character by character."""

    __slots__ = ("_core", "_done", "_spaced", "_start")

    def __init__(self, prefill: str, start: int) -> None:
        self._core = prefill.rstrip()
        self._spaced = self._core != prefill
        """The prefill ends with whitespace; how much of it the model repeats does not matter."""
        self._start = start
        self._done = 0

    def end(self, held: str, *, final: bool) -> int | None:
        there = self._core[self._done :][: len(held) - self._start - self._done]
        if not self._core or not held.startswith(there, self._start + self._done):
            return 0
        self._done += len(there)
        if self._done < len(self._core):
            return 0 if final else None
        end = self._start + self._done
        if not self._spaced:
            return end
        rest = held[end:].lstrip()
        return len(held) - len(rest) if rest or final else None


class _RepeatedJson:
    """Compares a growing text with a prefill that begins a JSON value; whitespace between tokens is free."""

    __slots__ = ("_done", "_escaped", "_in_string", "_place", "_prefill", "_value", "ends_in_string")

    def __init__(self, prefill: str, start: int) -> None:
        self.ends_in_string = _ends_in_string(prefill)
        self._prefill = prefill if self.ends_in_string else prefill.rstrip()
        self._done = 0
        self._place = start
        self._in_string = False
        self._escaped = False
        # After nothing but brackets, a continuation can look like a repetition.
        self._value = _FirstValue(start) if not prefill.strip("[" + _SPACES) else None

    def end(self, held: str, *, final: bool) -> int | None:
        if not self._prefill:
            return 0
        while self._done < len(self._prefill):
            if self._place == len(held):
                return 0 if final else None
            wanted, found = self._prefill[self._done], held[self._place]
            if not self._in_string and wanted in _SPACES:
                self._done += 1
            elif not self._in_string and found in _SPACES:
                self._place += 1
            elif wanted != found:
                return 0
            else:
                self._track(wanted)
                self._done += 1
                self._place += 1
        if not self._value:
            return self._place
        goes_on = self._value.goes_on(held, final=final)
        return None if goes_on is None else 0 if goes_on else self._place

    def _track(self, char: str) -> None:
        if self._escaped:
            self._escaped = False
        elif char == "\\" and self._in_string:
            self._escaped = True
        elif char == '"':
            self._in_string = not self._in_string


class _FirstValue:
    """Reads a growing text to the end of its first JSON array, to see whether a larger one goes on there."""

    __slots__ = ("_closed", "_depth", "_in_string", "_place")

    def __init__(self, start: int) -> None:
        self._place = start
        self._depth = 0
        self._in_string = False
        self._closed = False

    def goes_on(self, held: str, *, final: bool) -> bool | None:
        """Tell whether a comma or a closing bracket follows the array; None while that is open."""
        while not self._closed:
            mark = (_IN_STRING if self._in_string else _BETWEEN_STRINGS).search(held, self._place)
            self._place = mark.start() if mark else len(held)
            if mark is None or (mark[0] == "\\" and mark.end() == len(held)):
                return False if final else None
            self._take(str(mark[0]))
        rest = held[self._place :].lstrip()
        if not rest:
            return False if final else None
        return rest[0] in ",]"

    def _take(self, mark: str) -> None:
        self._place += 2 if mark == "\\" else 1
        if mark == '"':
            self._in_string = not self._in_string
        elif mark != "\\":
            self._depth += 1 if mark in "[{" else -1
            self._closed = self._depth == 0


def _ends_in_string(text: str) -> bool:
    quotes: list[str] = _QUOTE.findall(text)
    return quotes.count('"') % 2 == 1


def _before_fence(text: str) -> int:
    """Return where an end begins that is, or may become, a closing fence and the whitespace around it."""
    core = text.rstrip()
    ticks = len(core) - len(core.rstrip("`"))
    return len(core[: len(core) - ticks].rstrip()) if ticks <= 3 else len(core)
