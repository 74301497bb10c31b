"""A whole batch on its way out: every item settled, and what all of them come to.

The items of both arms stay in one batch, for each names its own model. They are worked on a few at a time,
with a rest for the event loop in between, however many there are; what is held in memory is the body as it
came and the slices of it that were changed.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gateway.compat.answer.plan import pack
from gateway.compat.batch import Batch, Group, Item, NotABatch, Register
from gateway.core.types import Arm, Change
from gateway.proxy.batches.items import ANY, Head, Settled, Terms, left_out, settle
from gateway.proxy.call import Plane
from gateway.proxy.table import Governed
from gateway.proxy.transport import headers as hop

MAX_ITEMS = 100_000
"""Of one batch, as the API has it; one with more is the upstream's to refuse."""
GROUP_ITEMS = 16
GROUP_BYTES = 64 * 1024
"""Most that is worked on without a rest, but for the last item of it."""


class TooMany(Exception):
    """The batch has more items than the API takes."""


class Assembly:
    """What goes out in place of one batch."""

    def __init__(self, batch: Batch, head: Head, plane: Plane, terms: Terms) -> None:
        self._batch, self._head, self._plane, self._terms = batch, head, plane, terms
        self._pieces: list[bytes] = []
        self._total = 0
        self._left_out: Counter[str] = Counter()
        self._added: dict[str, None] = {}
        self._groups: dict[tuple[str, Arm, bytes], int] = {}
        self.register = Register([], {})
        self.changed = False
        """Some item goes out in other words than it came in."""
        self.assigned: Counter[tuple[str, Arm]] = Counter()
        """How many items of a migration went to an arm."""
        self.changes: Counter[tuple[str, Change]] = Counter()
        """What was done to items of a migration, without the sentences."""
        self.kept_back: Counter[tuple[str, Change]] = Counter()
        """What kept items of a migration on control."""
        self.exposed: dict[str, Governed] = {}
        """The migrations whose candidates are to serve some item."""

    @property
    def pieces(self) -> list[bytes]:
        """The body, in parts."""
        if not self.changed:
            return [self._batch.body]
        commas = [part for piece in self._pieces for part in (b",", piece)]
        return [self._batch.head, *commas[1:], self._batch.tail]

    @property
    def disputed(self) -> frozenset[str]:
        """Betas that some items would leave out and others would not."""
        return frozenset(beta for beta, count in self._left_out.items() if count < self._total)

    @property
    def betas(self) -> tuple[str, ...]:
        """What the one header of all items says."""
        given = hop.betas(self._head.headers)
        kept = [beta for beta in given if self._left_out[beta] < self._total or not self._total]
        return tuple(dict.fromkeys([*kept, *self._added]))

    @property
    def is_remembered(self) -> bool:
        """Whether anything must be known of it when its results come."""
        return bool(self.exposed) or any(group.plan for group in self.register.groups)

    async def run(self) -> None:
        """Settle every item; raises NotABatch or TooMany, and BadRequest for an item that policy refuses."""
        for part in self._batch.slices():
            if self._total + len(part.items) > MAX_ITEMS:
                raise TooMany
            pieces: list[bytes] = []
            for group in _groups(part.items):
                pieces += await asyncio.gather(*map(self._take, group))
                await asyncio.sleep(0)
            same = all(piece is _raw(item) for piece, item in zip(pieces, part.items, strict=True))
            self._pieces.append(part.raw if same else b",".join(pieces))
            self.changed = self.changed or not same

    async def _take(self, item: Item | bytes) -> bytes:
        self._total += 1
        if isinstance(item, bytes):
            return item
        settled = await settle(item, self._head, self._plane, self._terms)
        if settled is None:
            return item.raw
        self._enter(item, settled)
        body = settled.rewritten.body
        return item.raw if body is item.params else item.saying(body)

    def _enter(self, item: Item, settled: Settled) -> None:
        name, rewritten = settled.governed.name, settled.rewritten
        self.assigned[name, settled.arm] += 1
        self.changes.update((name, replace(change, sentence="")) for change in rewritten.changes)
        if settled.obstacle is not None:
            self.kept_back[name, replace(settled.obstacle, sentence="")] += 1
        if settled.arm is Arm.candidate:
            self.exposed[name] = settled.governed
        self._left_out.update(left_out(self._head, rewritten))
        self._added.update(dict.fromkeys(rewritten.betas or ()))
        key = (name, settled.arm, pack(rewritten.plan))
        if key not in self._groups:
            self._groups[key] = len(self._groups)
            self.register.groups.append(Group(name, settled.arm.value, rewritten.plan))
        self.register.members[item.custom_id] = self._groups[key]


async def assemble(body: bytes, head: Head, plane: Plane, terms: Terms = ANY) -> Assembly | None:
    """Return what goes out in place of a batch; None where it is none, or none that anybody takes."""
    for find in (Batch.alone, Batch.among_others):
        try:
            return await _agreed(find(body), head, plane, terms)
        except NotABatch:
            continue
        except TooMany:
            return None
    return None


async def _agreed(batch: Batch, head: Head, plane: Plane, terms: Terms) -> Assembly:
    """Settle the items until there is no beta left that they disagree about."""
    while True:
        assembly = Assembly(batch, head, plane, terms)
        await assembly.run()
        news = assembly.disputed - terms.kept
        if not news:
            return assembly
        terms = replace(terms, kept=terms.kept | news)


def _groups(items: Sequence[Item | bytes]) -> Iterator[list[Item | bytes]]:
    """Give the items in groups that are small enough to be worked on without a rest."""
    group: list[Item | bytes] = []
    size = 0
    for item in items:
        group.append(item)
        size += len(_raw(item))
        if len(group) == GROUP_ITEMS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _raw(item: Item | bytes) -> bytes:
    return item if isinstance(item, bytes) else item.raw
