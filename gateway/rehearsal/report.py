"""How each failure ended, whether that is how it had to end, and what is told of it.

`Report.document` is what `--json` prints, and what stands behind the checklist's proof: it names the
configuration by its fingerprint, so that a rehearsal of another one proves nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Ended = Literal["rolled_back", "climbed", "stayed", "unguarded"]
"""What became of it; `unguarded`: the migration has switched off what would stop it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one failure."""

    failure: str
    said: str
    """What went wrong, in words."""
    ok: bool
    """It ended as it must."""
    ended: Ended
    why: str = ""
    """What the gates said; of a rollback the reason in the audit log."""
    problem: str = ""
    """What is not as it must be; empty: nothing."""
    stage: str = ""
    """Where it happened."""
    percent: float = 0.0
    expected: tuple[str, ...] = ()
    """Gates of which one had to stop it first; empty: none."""
    gates: tuple[str, ...] = ()
    """Gates that did."""
    rollback_s: float | None = None
    """From the first bad answer to the rollback."""
    last_request_s: float | None = None
    """From the first bad answer to the last request that went to the candidate."""
    requests: int = 0
    """All, since it went wrong."""
    candidate: int = 0
    """Those that went to the candidate."""
    hurt: int = 0
    """Those whose caller could not use the answer."""
    rescued: int = 0
    """Those that control answered in the candidate's place."""
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a rehearsal."""

    migration: str
    fingerprint: str
    """Of the configuration that was rehearsed."""
    changes: tuple[str, ...]
    """What was not as it is configured."""
    results: tuple[Result, ...]
    took_s: float
    whole: bool = True
    """Nothing was left out; only then it proves anything."""

    @property
    def passed(self) -> bool:
        """Whether everything ended as it must."""
        return bool(self.results) and all(result.ok for result in self.results)

    @property
    def summary(self) -> str:
        """What came of it, in a sentence."""
        well = sum(result.ok for result in self.results)
        slowest = max((r.rollback_s for r in self.results if r.rollback_s is not None), default=None)
        said = f"{well} of {len(self.results)} ended as they must"
        unguarded = [result.failure for result in self.results if result.ended == "unguarded"]
        if slowest is not None:
            said += f"; the slowest rollback came {slowest:.1f} s after the first bad answer"
        if unguarded:
            said += f"; nothing guards against {', '.join(unguarded)}"
        return said

    def document(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "migration": self.migration,
            "passed": self.passed,
            "summary": self.summary,
            "fingerprint": self.fingerprint,
            "whole": self.whole,
            "took_s": round(self.took_s, 1),
            "results": [_plain(asdict(result)) for result in self.results],
            "changes": list(self.changes),
        }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}
