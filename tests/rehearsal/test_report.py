"""A rehearsal has passed when everything ended as it must, and says so in a sentence."""

from dataclasses import replace

from gateway.core.types import parse_json, to_json
from gateway.rehearsal.report import Report, Result

FELL = Result(
    "overloaded", "half is turned away", True, "rolled_back", gates=("fallback_rate",), rollback_s=1.2345
)
STOOD = Result("outage", "both are overloaded", True, "stayed")
OPEN = Result("cost", "it talks too much", True, "unguarded")


def report(*results: Result) -> Report:
    return Report("m", "f00d", ("stage a: hold 3d → 3s",), results, 61.26)


def test_everything_must_end_as_it_must() -> None:
    assert report(FELL, STOOD).passed
    assert not report(FELL, replace(STOOD, ok=False)).passed
    assert not report().passed


def test_the_summary_names_the_slowest_and_what_is_not_guarded() -> None:
    assert report(STOOD).summary == "1 of 1 ended as they must"
    assert report(FELL, STOOD, OPEN).summary == (
        "3 of 3 ended as they must; the slowest rollback came 1.2 s after the first bad answer; "
        "nothing guards against cost"
    )


def test_the_document_is_plain_and_names_the_configuration() -> None:
    document = parse_json(to_json(report(FELL).document()))
    assert (document["fingerprint"], document["passed"], document["took_s"]) == ("f00d", True, 61.3)
    row = document["results"][0]
    assert (row["failure"], row["ended"], row["gates"], row["rollback_s"]) == (
        "overloaded",
        "rolled_back",
        ["fallback_rate"],
        1.23,
    )
    assert document["changes"] == ["stage a: hold 3d → 3s"]


def test_a_whole_rehearsal_fits_into_a_proof() -> None:
    long = replace(FELL, why="why " * 500, said="said " * 50)
    assert len(to_json(report(*[long] * 13).document())) < 64 * 1024
