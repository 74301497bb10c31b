"""What is repeated, what is left out, and that a request repeats what the one before it said."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.compat.address import Address
from gateway.compat.envelope import Envelope, Turn, encode
from gateway.compat.replay import (
    FOREIGN,
    NOTHING,
    UNBOUND,
    After,
    Append,
    Edit,
    Insert,
    Note,
    Replace,
    Replay,
    Results,
    Strict,
    apply,
    pack,
    recollect,
    split,
    unpack,
    without_lost,
)

Json = dict[str, Any]


def raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


def line(number: int) -> Append:
    return Append(2 * number, raw({"type": "text", "text": f"line {number}"}))


def said_upon(number: int, *below: Note, since: int | None = None) -> Note:
    return Note((line(number),), len(below), since, below[-1].mark if below else "")


A0, B0 = said_upon(0), said_upon(1)
B1, C1 = said_upon(1, A0), said_upon(2, A0)
C2 = said_upon(2, A0, B1)


def repeating(*notes: Note, **more: Any) -> Replay:
    edits = tuple(edit for note in notes for edit in note.edits)
    return Replay(edits, len(notes), mark=notes[-1].mark if notes else "", **more)


def history(length: int) -> list[Address]:
    """Answers at places 1, 3, 5, … with digests a, b, c, …"""
    return [Address(2 * number + 1, chr(ord("a") + number)) for number in range(length)]


# --- notes --------------------------------------------------------------------------------------------------


def test_a_note_survives_being_packed() -> None:
    edits: tuple[Edit, ...] = (
        line(1),
        After(-1, raw({"role": "user", "content": "x"})),
        Insert(1, 0, raw({"type": "thinking", "thinking": "", "signature": "s  "})),
        Replace(3, raw([{"type": "text", "text": " as it was "}])),
        Results(4, "toolu_1"),
        Strict(0, "look_up"),
    )
    for each in (Note(edits, 2, None, "mark"), Note((), 0, 5), FOREIGN):
        assert unpack(pack(each)) == each


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"edits": [{"type": "unheard_of"}], "earlier": 1}', b"\xff"]
)
def test_what_is_no_note_of_ours_is_none(data: bytes) -> None:
    assert unpack(data) is None


# --- what is repeated ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notes", "unknown", "expected", "repeated"),
    [
        ({}, "", "", NOTHING),
        ({"a": A0, "b": B1}, "", "", repeating(A0, B1)),
        ({"b": B0}, "", "", repeating(B0)),
        ({"a": A0, "c": C1}, "", "", repeating(A0, C1)),
        # lost in the middle, at the front, at the end, all
        ({"a": A0, "c": C2}, "", "", repeating(A0, broken_at=2)),
        ({"b": B1, "c": C2}, "", "", repeating(broken_at=0)),
        ({"a": A0, "b": B1}, "", "c", repeating(A0, B1, broken_at=5)),
        ({}, "", "abc", repeating(broken_at=1)),
        # the store is away
        ({"a": A0}, "bc", "", repeating(A0, broken_at=3)),
        ({}, "abc", "", repeating(broken_at=1)),
        # nobody knew about b, but c stands on a alone: b had none
        ({"a": A0, "c": C1}, "b", "", repeating(A0, C1)),
        # examples that the application brought; no note of ours stands on one
        ({"b": B0, "c": said_upon(2, B0)}, "", "abc", repeating(B0, said_upon(2, B0))),
        # one that turned up after c had been written without it
        ({"a": A0, "b": B1, "c": C1}, "", "", repeating(A0, B1, broken_at=4)),
        # as many as c stands on, but others
        ({"a": said_upon(7), "c": C1}, "", "", repeating(said_upon(7), broken_at=2)),
        # an answer of control's
        ({"a": A0, "b": FOREIGN, "c": C1}, "", "abc", repeating(A0, C1)),
    ],
)
def test_all_or_nothing_from_where_a_note_is_missing(
    notes: dict[str, Note], unknown: str, expected: str, repeated: Replay
) -> None:
    assert recollect(history(3), notes, frozenset(unknown), frozenset(expected)) == repeated


def test_what_was_left_out_once_stays_left_out_and_the_rest_goes_on() -> None:
    lost = recollect(history(2), {"a": A0}, frozenset("b"))
    assert lost == repeating(A0, broken_at=3)
    after = lost.note((line(2),))
    assert after == said_upon(2, A0, since=3)
    expected = repeating(A0, after, left_out=((3, 5),))
    assert recollect(history(3), {"a": A0, "c": after}) == expected
    # also when the lost one turns up again: it was not there when c was said
    assert recollect(history(3), {"a": A0, "b": B1, "c": after}) == expected
    later = said_upon(3, A0, after)
    assert recollect(history(4), {"a": A0, "c": after, "d": later}) == repeating(
        A0, after, later, left_out=((3, 5),)
    )


def test_a_later_loss_before_an_earlier_one_takes_its_place() -> None:
    after = said_upon(2, A0, since=3)
    without_a = recollect(history(3), {"c": after}, frozenset("a"))
    assert without_a == repeating(broken_at=0)
    again = without_a.note(())
    assert again.since == 0
    whole = recollect(history(4), {"a": A0, "c": after, "d": again})
    assert whole == repeating(again, left_out=((0, 7),))


# --- messages -----------------------------------------------------------------------------------------------


THOUGHT: Json = {"type": "thinking", "thinking": "hm", "signature": "s"}
SAID: Json = {"type": "text", "text": "yes"}
MESSAGES = [
    raw({"role": "user", "content": "x"}),
    raw({"role": "assistant", "content": [THOUGHT, SAID]}),
    raw({"role": "user", "content": [{"type": "text", "text": "y"}]}),
    raw({"role": "assistant", "content": [SAID, {"type": "redacted_thinking", "data": "d"}]}),
    raw({"role": "user", "content": "z"}),
]


def read(messages: Sequence[Raw]) -> list[Json]:
    return [json.loads(bytes(each)) for each in messages]


def test_edits_are_told_in_places_of_the_applications_messages() -> None:
    edits: list[Edit] = [
        After(4, raw({"role": "user", "content": "end"})),
        Append(0, raw({"type": "text", "text": "first"})),
        After(0, raw({"role": "system", "content": "behind"})),
        Append(0, raw({"type": "text", "text": "second"})),
        Insert(3, 0, raw(THOUGHT)),
        After(-1, raw({"role": "user", "content": "front"})),
        Replace(1, raw([SAID, SAID])),
    ]
    done = apply(MESSAGES, edits)
    assert [each["content"] for each in read(done)] == [
        "front",
        [
            {"type": "text", "text": "x"},
            {"type": "text", "text": "first"},
            {"type": "text", "text": "second"},
        ],
        "behind",
        [SAID, SAID],
        [{"type": "text", "text": "y"}],
        [THOUGHT, SAID, {"type": "redacted_thinking", "data": "d"}],
        "z",
        "end",
    ]
    assert done[4] is MESSAGES[2]
    assert done[6] is MESSAGES[4]


def test_blocks_are_inserted_where_they_stood() -> None:
    other = {**THOUGHT, "signature": "t"}
    done = read(apply(MESSAGES, [Insert(3, 2, raw(other)), Insert(3, 0, raw(THOUGHT))]))
    assert [block["type"] for block in done[3]["content"]] == [
        "thinking",
        "text",
        "thinking",
        "redacted_thinking",
    ]
    assert done[3]["content"][2] == other


@pytest.mark.parametrize("content", [None, 7, {"a": 1}])
def test_a_message_that_is_malformed_is_left_to_the_upstream(content: Any) -> None:
    message = raw({"role": "user", "content": content})
    assert apply([message], [Append(0, raw(SAID))]) == [message]


def test_without_edits_or_losses_every_message_stays_the_object_that_it_was() -> None:
    for done in (apply(MESSAGES, ()), without_lost(MESSAGES, NOTHING)):
        assert all(after is before for after, before in zip(done, MESSAGES, strict=True))


@pytest.mark.parametrize(
    ("past", "without"),
    [
        (Replay(broken_at=0), {1, 3}),
        (Replay(broken_at=1), {1, 3}),
        (Replay(broken_at=2), {3}),
        (Replay(broken_at=4), set()),
        (Replay(left_out=((0, 3),)), {1}),
        (Replay(left_out=((0, 2), (3, 4))), {1, 3}),
        (Replay(left_out=((0, 2),), broken_at=3), {1, 3}),
    ],
)
def test_thinking_is_left_out_where_it_was_bound_to_what_is_lost(past: Replay, without: set[int]) -> None:
    done = without_lost(MESSAGES, past)
    for place, (before, after) in enumerate(zip(MESSAGES, done, strict=True)):
        if place in without:
            assert read([after])[0]["content"] == [SAID]
        else:
            assert after is before


# --- one turn after the other -------------------------------------------------------------------------------


@dataclass
class Life:
    """A conversation in which every answer leaves a note; what the store has of it comes and goes."""

    notes: dict[str, Note] = field(default_factory=dict)
    said: list[Replay] = field(default_factory=list)

    def turn(self, hidden: set[str], unknown: set[str], *, foreign: bool) -> None:
        answers = history(len(self.said))
        there = {digest: note for digest, note in self.notes.items() if digest not in hidden | unknown}
        every = {answer.digest for answer in answers}
        past = recollect(answers, there, unknown, every)
        number = len(self.said)
        self.said.append(past)
        self.notes[chr(ord("a") + number)] = FOREIGN if foreign else past.note((line(number),))


@given(data=st.data(), turns=st.integers(2, 7))
def test_an_answer_is_repeated_only_behind_exactly_what_it_was_said_behind(
    data: st.DataObject, turns: int
) -> None:
    """Whatever the store loses, finds again or does not answer for: a note that is repeated is repeated with
    the same edits and the same omissions before it as when its answer was given.
    """
    life = Life()
    names = [chr(ord("a") + number) for number in range(turns)]
    for _ in range(turns):
        hidden, unknown = (data.draw(st.sets(st.sampled_from(names), max_size=2)) for _ in range(2))
        life.turn(hidden, unknown, foreign=data.draw(st.booleans()) and data.draw(st.booleans()))
    now = life.said[-1]
    for number in range(turns - 1):
        if line(number) not in now.edits:
            continue
        then, place = life.said[number], 2 * number + 1
        before = tuple(edit for edit in now.edits if edit.place < 2 * number)
        assert before == then.edits
        gone = {spot for first, behind in now.left_out for spot in range(first, min(behind, place))}
        was = {spot for first, behind in then.left_out for spot in range(first, min(behind, place))}
        if then.broken_at is not None:
            was |= set(range(then.broken_at, place))
        assert gone == was
        assert now.broken_at is None or now.broken_at > place


@given(lost=st.sets(st.integers(0, 5)))
def test_whatever_is_lost_thinking_is_left_out_from_there_on_and_never_in_the_middle(lost: set[int]) -> None:
    life = Life()
    for _ in range(6):
        life.turn(set(), set(), foreign=False)
    kept = {digest: note for number, (digest, note) in enumerate(life.notes.items()) if number not in lost}
    past = recollect(history(6), kept, (), set(life.notes))
    first = min(lost, default=6)
    assert past.edits == tuple(line(number) for number in range(first))
    assert (past.broken_at is None) == (not lost & set(range(6)))
    assert past.broken_at is None or 2 * first - 1 < past.broken_at <= 2 * first + 1
    assert past.left_out == ()


def test_a_long_conversation_is_put_together_in_one_pass() -> None:
    notes, upon = dict[str, Note](), ""
    for number in range(30_000):
        notes[str(number)] = Note((line(number),), number, None, upon)
        upon = notes[str(number)].mark
    answers = [Address(2 * number + 1, str(number)) for number in range(30_000)]
    started = process_time()
    assert recollect(answers, notes).notes == 30_000
    assert process_time() - started < 2  # what grows with the square of it takes several times as long


def test_what_the_model_did_not_take_any_more_stays_away_and_nothing_before_it_is_repeated() -> None:
    after = recollect(history(2), {"a": A0, "b": UNBOUND})
    assert after == repeating(UNBOUND, left_out=((0, 3),))
    then = after.note((line(2),))
    assert recollect(history(3), {"a": A0, "b": UNBOUND, "c": then}).left_out == ((0, 3),)


# --- the last messages alone ------------------------------------------------------------------------------

TRICKY = '{"role":"user","content":"no"}'
CONTENTS: list[Any] = [
    "",
    "a",
    TRICKY,
    "]}",
    '"\\',
    [],
    [{"type": "text", "text": TRICKY}],
    [{"role": "user"}],
]
SPELLINGS = ('{"role":"user","content":%s}', '{ "role" : "assistant",\n "content": %s }')
ODD = (
    '{"content":%s,"role":"user"}',
    '{"role":"user","content":%s,"x":1}',
    '{"role":"user","content":[1],"content":%s}',
    '{"role":"user","x":{"role":"user","content":%s}}',
    '{"role":"user","content":' + TRICKY + ',"x":%s}',
)
PLAIN = {spelling % json.dumps(content) for spelling in SPELLINGS for content in CONTENTS}


def turns_of(messages: Raw) -> tuple[Turn, ...]:
    return Envelope(b"", {"messages": messages}, "").turns


@st.composite
def spelled(draw: st.DrawFn, *, spellings: Sequence[str]) -> str:
    return draw(st.sampled_from(spellings)) % json.dumps(draw(st.sampled_from(CONTENTS)))


@given(st.lists(spelled(spellings=SPELLINGS + ODD), min_size=2, max_size=5), st.data())
def test_the_last_messages_are_found_where_they_are_or_not_at_all(
    said: list[str], data: st.DataObject
) -> None:
    comma = data.draw(st.sampled_from([",", ", ", "\n,\n"]))
    at = data.draw(st.integers(1, len(said) - 1))
    messages = Raw(f"[ {comma.join(said)}]".encode())
    turns = turns_of(messages)
    found = split(messages, turns, at)
    if found is None:
        assert not PLAIN.issuperset(said[at:])
        return
    before, last = found
    assert [bytes(raw).decode() for raw in last] == said[at:]
    assert bytes(before).decode().strip() == comma.join(said[:at])


@given(st.lists(spelled(spellings=SPELLINGS), min_size=2, max_size=5))
def test_the_last_messages_are_found_as_clients_spell_them(said: list[str]) -> None:
    messages = Raw(f"[{','.join(said)}]".encode())
    before, last = split(messages, turns_of(messages), len(said) - 1) or (None, [])
    assert [bytes(raw).decode() for raw in last] == said[-1:]
    assert before == Raw(",".join(said[:-1]).encode())


def test_a_long_content_is_compared_to_its_end() -> None:
    text, other = "x" * 200_000, "x" * 199_999 + "y"
    messages = Raw(json.dumps([{"role": "user", "content": "a"}, {"role": "user", "content": text}]).encode())
    assert split(messages, (Turn("user"), Turn("user", encode(text))), 1) is not None
    assert split(messages, (Turn("user"), Turn("user", encode(other))), 1) is None
