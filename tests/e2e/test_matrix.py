"""Every feature of a request on every way between two current models, through a real gateway.

The table that the answers make is the one in docs/compatibility.md.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from gateway.compat.catalog import Model
from gateway.compat.explain.matrix import AS_IS
from tests.support.cells import PLAIN_QUESTION, Cell, Judge
from tests.support.deploy import Deployed, Simulated
from tests.support.every_way import MODELS, all_of, asking, every_way, way_name
from tests.support.features import FEATURES, Feature
from tests.support.rows import EVERY_PAIR, name
from tests.support.written import DOCUMENT, Table, by_letter, lines, read_rules, read_table, show

LENIENT = frozenset({"fallbacks by default"})
"""What the simulator takes from models of which nothing says that they do; the document has no letter."""
WRITTEN, RULES = read_table(DOCUMENT.read_text()), read_rules(DOCUMENT.read_text())


@pytest.fixture(scope="module")
def gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with every_way(_upstream, tmp_path_factory.mktemp("every-way")) as gateway:
        yield gateway


async def judged(gateway: Deployed, upstream: Simulated, cells: Sequence[Cell]) -> tuple[Judge, Table]:
    """Ask for cells, a plain question on each of their ways first, and return what was seen."""
    ways = {way_name(cell.way): cell.way for cell in cells}.values()
    async with asking(gateway.url, upstream.url) as (through, direct):
        judge = Judge(through, direct)
        await all_of([Cell(way, PLAIN_QUESTION) for way in ways], judge.look)
        await all_of(cells, judge.look)
        seen = await judge.letters(WRITTEN)
        show(f"{len(judge.done)} cells, {through.asked + direct.asked} requests: {by_letter(seen)}")
    show(*judge.wrong)
    assert judge.wrong == []
    return judge, {key: letter for key, letter in seen.items() if key[2] not in LENIENT}


def sample() -> Iterator[Cell]:
    """Ask for a feature on each way, and now and then for one that the source refuses: each time for the one
    that was asked for least.
    """
    so_far = Counter[str]()
    for number, way in enumerate(EVERY_PAIR):
        known = [feature for feature in FEATURES if WRITTEN.get((way[0].id, way[1].id, feature.name))]
        refused = [feature for feature in FEATURES if feature not in known and feature.name not in LENIENT]
        for features in (known, refused) if number % 4 == 0 else (known,):
            feature = min(features, key=lambda feature: so_far[feature.name])
            so_far[feature.name] += 1
            yield Cell(way, feature, shapes(feature, number))


def naming(rule: str) -> Iterator[Cell]:
    """Ask for what a line of the document says that a rule does."""
    source, feature = RULES[rule]
    for way in EVERY_PAIR:
        if way[0].display_name == source and WRITTEN[way[0].id, way[1].id, feature] != AS_IS:
            yield Cell(way, next(known for known in FEATURES if known.name == feature))


def shapes(feature: Feature, number: int) -> tuple[str, ...]:
    """Return how a cell is asked: a third also as a stream, a third also of count_tokens."""
    also = ("stream", "count", "")[number % 3]
    return ("json", also) if also and (also != "stream" or feature.streams) else ("json",)


@pytest.mark.timeout(180)
async def test_a_sample_of_every_feature_every_way_and_every_rule_is_served_as_the_document_says(
    gateway: Deployed, upstream: Simulated
) -> None:
    cells = list(sample())
    assert {cell.feature.name for cell in cells} >= {feature.name for feature in FEATURES} - LENIENT
    judge, seen = await judged(gateway, upstream, cells)
    assert seen == {key: WRITTEN.get(key, "") for key in seen}
    assert {(source, target) for source, target, _ in seen} == {(a.id, b.id) for a, b in EVERY_PAIR}
    missing = RULES.keys() - rules_of(judge)
    judge, seen = await judged(gateway, upstream, [cell for rule in missing for cell in naming(rule)])
    assert seen == {key: WRITTEN.get(key, "") for key in seen}
    assert missing <= rules_of(judge)


def rules_of(judge: Judge) -> set[str]:
    """Return the rules that did something."""
    return {rule for done in judge.done.values() for rule in done}


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("source", MODELS, ids=name)
async def test_every_feature_is_served_on_every_way_as_the_document_says(
    gateway: Deployed, upstream: Simulated, source: Model
) -> None:
    ways = [way for way in EVERY_PAIR if way[0] is source]
    cells = [
        Cell(way, feature, shapes(feature, row + column))
        for column, way in enumerate(ways)
        for row, feature in enumerate(FEATURES)
        if feature.name != PLAIN_QUESTION.name
    ]
    _, seen = await judged(gateway, upstream, cells)
    show(*lines(seen, source))
    written = {
        key: letter for key, letter in WRITTEN.items() if key[0] == source.id and key[2] not in LENIENT
    }
    assert seen == written
