"""An answer that repeats the prefill loses it, one that continues stays whole, wherever it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.answer.text import TextRestorer
from gateway.compat.rules.prefill import intent_of

# prefill, what the model says, what the application gets behind its prefill
REPLIES = [
    # JSON: repeated, with whitespace, continued
    ("{", '{"a": 1}', '"a": 1}'),
    ("{", ' \n{"a": 1}', '"a": 1}'),
    ("{", '"a": 1}', '"a": 1}'),
    ("{", "{}", "}"),
    ("{", "{", ""),
    ("{", "", ""),
    ("{", "  ", "  "),
    ("{", "I cannot do that.", "I cannot do that."),
    ('{"items": [', '{"items": [1]}', "1]}"),
    ('{"items": [', '{\n  "items":[1]}', "1]}"),
    ('{"items": [', "1]}", "1]}"),
    ('{\n  "items": [\n', '{"items": [1]}', "1]}"),
    ('{"a": 1,', '{"b": 1}', '{"b": 1}'),
    ('{"name": "', '{"name":"Bo"}', 'Bo"}'),
    ('{"name": "', '{"name": " Bo"}', ' Bo"}'),
    ('{"name": "a b', '{"name": "ab"}', '{"name": "ab"}'),
    ('{"say": "\\"', '{"say": "\\"hi\\""}', 'hi\\""}'),
    ('{"n": 1', '{"n": 12}', "2}"),
    # brackets: what follows the first array decides
    ("[", "[1, 2]", "1, 2]"),
    ("[", "[1],[2]]", "[1],[2]]"),
    ("[", "[1], [2]]", "[1], [2]]"),
    ("[", "[1]]", "[1]]"),
    ("[", "[1]", "1]"),
    ("[", "[1, 2", "1, 2"),
    ("[", "[[1],[2]]", "[1],[2]]"),
    ("[", '["]", "[", "\\"]"]', '"]", "[", "\\"]"]'),
    ("[", '["a\\\\"],["b"]]', '["a\\\\"],["b"]]'),
    ("[", "[1]\n\nDone.", "1]\n\nDone."),
    ("[", "1, 2]", "1, 2]"),
    ("[[", "[[1],[2]]", "1],[2]]"),
    ("[{", '[{"a":1}]', '"a":1}]'),
    # code fences
    ("{", '```json\n{"a": 1}\n```', '"a": 1}'),
    ("{", '```\n{"a": 1}\n```\n', '"a": 1}'),
    ("{", '```json\n"a": 1}\n```', '"a": 1}'),
    ("{", '```json\n{"a": "```"}\n```', '"a": "```"}'),
    ("{", '```json\n{"a": 1}', '"a": 1}'),
    ("{", '```json\n{"a": 1}\n```\nDone.', '"a": 1}\n```\nDone.'),
    ("{", '```json\n{"a": 1}\n``', '"a": 1}\n``'),
    ("{", '```json {"a": 1}', '```json {"a": 1}'),
    ("{", "```js", "```js"),
    ('{"code": "', '```python\nprint()"}', '```python\nprint()"}'),
    ("[", "```json\n[1, 2]\n```", "1, 2]"),
    ("[", "```json\n[1],[2]]\n```", "[1],[2]]"),
    ('{"code": "', '```python\\nprint()```"}', '```python\\nprint()```"}'),
    ('{"code": "', '```json\n{"code": "x"}\n```', 'x"}'),
    # a prefill that opens a fence
    ("```json\n", '```json\n{"a": 1}\n```', '{"a": 1}\n```'),
    ("```json\n{", '```json\n{"a": 1}\n```', '"a": 1}\n```'),
    ("```json\n{", '{"a": 1}', '"a": 1}'),
    ("```json\n", '{"a": 1}', '{"a": 1}'),
    ("```json", '```json\n{"a": 1}', '\n{"a": 1}'),
    ("```json\n{", '```JSON\n{"a": 1}', '```JSON\n{"a": 1}'),
    ("```python\n", "```python\nprint()", "print()"),
    # words
    ("Answer:", "Answer: yes", " yes"),
    ("Answer:", "yes", "yes"),
    ("Answer:", "\n\nAnswer: yes", " yes"),
    ("Answer:", "Ans", "Ans"),
    ("Answer: ", "Answer: yes", "yes"),
    ("Answer:\n", "Answer: yes", "yes"),
    ("Answer:\n", "Answer:", ""),
    ("Answer:\n", "Answer:  ", ""),
    ("The label is (", "The label is (B)", "B)"),
    ("The label is (", "B)", "B)"),
    ('"', '"positive"', 'positive"'),
    ("The", "There are two", "re are two"),
    ("  Dear", "Dear Sir", " Sir"),
    ("Müller ☃", "Müller ☃!", "!"),
    ("one two", "one  two", "one  two"),
    (" ", " yes", " yes"),
    # YAML, and reminders
    ("```yaml\n", "```yaml\nname: Bo\n```", "name: Bo\n```"),
    ("```yaml\n", "name: Bo", "name: Bo"),
    ("---\n", "---\nname: Bo", "name: Bo"),
    ("---\n", "--- name: Bo", "name: Bo"),
    ("---\n", "name: Bo", "name: Bo"),
    ("Remember: be kind.", "Hello!", "Hello!"),
    ("Remember: be kind.", "Remember: be kind. Hello!", " Hello!"),
    ("Remember: be kind.", "Remember: be", "Remember: be"),
]


def plan(prefill: str, *, hides_thinking: bool = False) -> AnswerPlan:
    return AnswerPlan(prefill, intent_of(prefill), hides_thinking=hides_thinking)


@pytest.mark.parametrize(("prefill", "said", "expected"), REPLIES)
def test_pieces_of_a_reply_give_the_same_text(prefill: str, said: str, expected: str) -> None:
    for size in (1, 2, 3, 5):
        restorer = TextRestorer(plan(prefill))
        pieces = [restorer.feed(said[at : at + size]) for at in range(0, len(said), size)]
        assert "".join(pieces) + restorer.finish() == expected


CUT = "It began well. Then it went on, and"
QUOTED = CUT[-18:]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (" ended.", " ended."),
        (f"{QUOTED} ended.", " ended."),
        (f"\n{CUT} ended.", " ended."),
        ("It began again.", "It began again."),
        (f"{QUOTED[:9]} nowhere.", f"{QUOTED[:9]} nowhere."),
        (QUOTED[:9], QUOTED[:9]),
        ("", ""),
    ],
)
def test_an_answer_that_goes_on_may_repeat_all_of_it_or_the_end_that_it_was_shown(
    said: str, expected: str
) -> None:
    going_on = AnswerPlan(CUT, "text", continued=True, quoted=QUOTED)
    for size in (1, 2, 7, 100):
        restorer = TextRestorer(going_on)
        pieces = [restorer.feed(said[at : at + size]) for at in range(0, len(said), size)]
        assert "".join(pieces) + restorer.finish() == expected


@given(st.sampled_from(["{", "[", "[[", '{"a": [', "```json\n", "Answer: ", "A"]), st.data())
def test_any_cut_of_any_reply_gives_the_same_text(prefill: str, data: st.DataObject) -> None:
    tokens = [
        "{",
        "}",
        "[",
        "]",
        '"',
        "\\",
        "`",
        "```",
        "json",
        "\n",
        " ",
        "a",
        ":",
        ",",
        "1",
        "Answer:",
        prefill,
    ]
    pieces = data.draw(st.lists(st.sampled_from(tokens)))
    whole, cut = TextRestorer(plan(prefill)), TextRestorer(plan(prefill))
    expected = whole.feed("".join(pieces)) + whole.finish()
    assert "".join(cut.feed(piece) for piece in pieces) + cut.finish() == expected


@pytest.mark.parametrize(
    ("prefill", "said", "given"),
    [
        ("{", '{"a', '"a'),
        ("{", '"a', '"a'),
        ("{", " ", ""),
        ('{"items": [', '{"it', ""),
        ('{"items": [', '{"other', '{"other'),
        ("[", "[1, 2", ""),
        ("[", "[1, 2] ", ""),
        ("[", "[1],", "[1],"),
        ("[", "[1]\nD", "1]\nD"),
        ("{", '```json\n{"a": 1}\n', '"a": 1}'),
        ("Answer:", "Ans", ""),
        ("Answer:", "As", "As"),
    ],
)
def test_text_is_held_no_longer_than_needed(prefill: str, said: str, given: str) -> None:
    assert TextRestorer(plan(prefill)).feed(said) == given


def test_a_very_long_reply_in_single_characters_is_read_once() -> None:
    said = '["' + "x" * 200_000 + '"]'
    restorer = TextRestorer(plan("["))
    pieces = [restorer.feed(char) for char in said]
    assert "".join(pieces) + restorer.finish() == said[1:]
