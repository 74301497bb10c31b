"""What the benchmark prints, and a limit on what it measures."""

import json
from dataclasses import replace

import pytest

from bench.cases import SIZES, cases
from bench.rewrite import Row, main, measure, peak, table

ROW = Row("2 KB", "fields", 2000, 1.0, 2.0, ratio=2.0, low=1.9, high=2.1, to_loads=0.5, memory=2.4)
MAX_RATIO: dict[str, dict[str, float]] = {
    "2 KB": {
        "own model": 28,
        "fields": 120,
        "prompt variant": 127,
        "begun answer": 193,
        "repeated notes": 224,
    },
    "200 KB": {
        "own model": 4.2,
        "fields": 6.3,
        "prompt variant": 6.6,
        "begun answer": 8,
        "repeated notes": 28,
    },
    "5 MB": {
        "own model": 4.1,
        "fields": 4.4,
        "prompt variant": 4.5,
        "begun answer": 4.5,
        "repeated notes": 17,
    },
}
"""One and a half times what docs/performance.md has."""
MAX_MEMORY = 3.0


@pytest.mark.parametrize(
    ("row", "holds"), [(ROW, True), (replace(ROW, ratio=3.1), False), (replace(ROW, memory=2.6), False)]
)
def test_a_row_holds_where_time_and_memory_are_within_their_targets(row: Row, holds: bool) -> None:
    assert row.holds is holds
    assert table([row]).count("over") == (not holds)


def test_the_table_names_every_case_with_its_numbers() -> None:
    _, _, line, target = table([ROW]).splitlines()
    assert " ".join(line.split()) == "2 KB fields 0.001 ms 0.002 ms 2.00 1.90 - 2.10 0.50 2.40×"
    assert target == "target: ratio ≤ 3, memory ≤ 2.5×"


def test_a_case_is_measured_against_one_pass_of_the_scanner() -> None:
    row = measure("20 KB", cases(20_000)[0], rounds=5)
    assert row.low <= row.ratio <= row.high
    assert row.ratio > 1
    assert row.memory > 1
    assert 18_000 < row.body_bytes < 22_000


def test_what_is_not_rewritten_needs_no_second_body_and_what_is_needs_one() -> None:
    own, fields, *_ = cases(200_000)
    assert peak(own) < 1.5
    assert 2 < peak(fields) < 2.5


def test_the_numbers_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--json", "--rounds", "2", "--size", "2 KB"])
    rows = json.loads(capsys.readouterr().out)
    assert {row["case"] for row in rows} == {case.name for case in cases(SIZES["2 KB"])}
    assert code == (not all(row["holds"] for row in rows))


@pytest.mark.full
@pytest.mark.parametrize("name", MAX_RATIO["5 MB"])
@pytest.mark.parametrize("size", SIZES)
def test_rewriting_costs_what_the_docs_say(size: str, name: str) -> None:
    row = measure(size, next(case for case in cases(SIZES[size]) if case.name == name), rounds=9)
    assert row.low <= MAX_RATIO[size][name]
    assert size == "2 KB" or row.memory <= MAX_MEMORY
