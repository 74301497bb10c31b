"""What rewriting costs, in time and memory, by the size of the body: `make bench-rewrite`.

Time is that of the processor, as a ratio to one pass of a JSON scanner over the same bytes. Both are measured
in turns, so that a busy machine slows both; each round gives one ratio, and the table shows their median and
the middle half of them.
For comparison there is the ratio to `json.loads`, which is what reading a body whole would cost.
Memory is the most that was in use at once, the body that came in and the one that goes out included, as a
multiple of the body that came in.

    python -m bench.rewrite [--rounds 15] [--size "2 KB"] [--json]
"""

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from operator import truediv

from bench.cases import SIZES, Case, cases

MAX_RATIO = 3.0
MAX_MEMORY = 2.5
TURN_S = 0.004
"""How long one measurement of the scanner takes at least."""


@dataclass(frozen=True, slots=True)
class Row:
    """One case with one size of body."""

    size: str
    case: str
    body_bytes: int
    scan_us: float
    """Median of one pass of the scanner."""
    rewrite_us: float
    ratio: float
    """Median over the rounds."""
    low: float
    """A quarter of the rounds were below."""
    high: float
    """A quarter of the rounds were above."""
    to_loads: float
    """Median ratio to `json.loads`, which builds every value."""
    memory: float
    """Peak, as a multiple of the body."""

    @property
    def holds(self) -> bool:
        """Whether both targets are met."""
        return self.ratio <= MAX_RATIO and self.memory <= MAX_MEMORY


def measure(size: str, case: Case, rounds: int) -> Row:
    """Measure one case."""
    once = _seconds(case.scan, 1)
    times = max(1, round(TURN_S / max(once, 1e-7)))
    scans, works, loads = [], [], []
    for _ in range(rounds):
        scans.append(_seconds(case.scan, times))
        works.append(_seconds(case.run, times))
        loads.append(_seconds(partial(json.loads, case.body), max(1, times // 8)))
    low, ratio, high = statistics.quantiles(map(truediv, works, scans), n=4)
    return Row(
        size=size,
        case=case.name,
        body_bytes=len(case.body),
        scan_us=round(statistics.median(scans) * 1e6, 1),
        rewrite_us=round(statistics.median(works) * 1e6, 1),
        ratio=round(ratio, 2),
        low=round(low, 2),
        high=round(high, 2),
        to_loads=round(statistics.median(map(truediv, works, loads)), 2),
        memory=round(peak(case), 2),
    )


def _seconds(work: Callable[[], object], times: int) -> float:
    start = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - start) / times


def peak(case: Case) -> float:
    """Return the most memory that a case has in use, as a multiple of its body."""
    case.run()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        _sent = case.run()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (most - before + len(case.body)) / len(case.body)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table for people."""
    columns = f"{'body':>7}  {'case':<15} {'scan':>10} {'rewrite':>10}"
    head = f"{columns} {'ratio':>6} {'middle half':>15} {'to loads':>8} {'memory':>7}"
    lines = [head, "-" * len(head)]
    for row in rows:
        scan, rewrite = (f"{us / 1000:.3f} ms" for us in (row.scan_us, row.rewrite_us))
        spread = f"{row.low:.2f} - {row.high:.2f}"
        mark = "" if row.holds else "  over"
        lines.append(
            f"{row.size:>7}  {row.case:<15} {scan:>10} {rewrite:>10} {row.ratio:>6.2f} {spread:>15} "
            f"{row.to_loads:>8.2f} {row.memory:>6.2f}×{mark}"
        )
    return "\n".join([*lines, f"target: ratio ≤ {MAX_RATIO:g}, memory ≤ {MAX_MEMORY:g}×"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything and print it; exit code 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="bench.rewrite")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", choices=SIZES, help="only bodies of this size")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    sizes = [asked.size] if asked.size else list(SIZES)
    rows = [measure(size, case, asked.rounds) for size in sizes for case in cases(SIZES[size])]
    if asked.json:
        print(json.dumps([{**asdict(row), "holds": row.holds} for row in rows], indent=2))
    else:
        print(table(rows))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
