"""What must be known of a batch when its results come: kept in the notebook, under the batch's own id.

A batch may hold items of several migrations and outlives their rollbacks, so its register belongs to none.
It is kept for as long as there can be results: until the batch has expired, and 29 days more. Whoever reads
the store learns nothing of it without the batch's id.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

from gateway.compat.batch import Register, pages_of, read_index, read_register
from gateway.store.notebook import Notebook

BATCHES = "@batches"
"""Stands for the migration; none can have this name."""
RESULTS_S = 29 * 86_400
"""How long results can be fetched."""
EXPIRES_S = 86_400
"""When a batch expires that does not say when."""
LONGEST_S = 60 * 86_400
WRITE_S = 2.0
READ_S = 2.0


async def keep(register: Register, batch_id: str, ttl_s: int, notebook: Notebook) -> bool:
    """Remember a register; False where, for now, only this process knows it, or nobody can ask for it."""
    if not batch_id:
        return False
    index, *pages = pages_of(register)
    for number, page in enumerate(pages, start=1):
        await notebook.write(BATCHES, [_name(batch_id, number)], page, ttl_s=ttl_s)
        await asyncio.sleep(0)
    await notebook.write(BATCHES, [_name(batch_id, 0)], index, wait_s=WRITE_S, ttl_s=ttl_s)
    return not notebook.away


async def find(batch_id: str, notebook: Notebook) -> Register | None:
    """Return what is known of a batch; None where nothing is, or not all."""
    (first,) = await _read([_name(batch_id, 0)], notebook)
    index = read_index(first) if first is not None else None
    if index is None:
        return None
    pages = await _read([_name(batch_id, number) for number in range(1, index.pages + 1)], notebook)
    there = [page for page in pages if page is not None]
    return read_register(index, there) if len(there) == len(pages) else None


def lasts_s(created_at: str, expires_at: str) -> int:
    """Return for how long there can be results of a batch, from its own word for when it expires."""
    try:
        open_s = (datetime.fromisoformat(expires_at) - datetime.fromisoformat(created_at)).total_seconds()
    except (ValueError, TypeError):
        open_s = EXPIRES_S
    return int(min(max(open_s, EXPIRES_S) + RESULTS_S, LONGEST_S))


async def _read(names: Sequence[str], notebook: Notebook) -> list[bytes | None]:
    found = await notebook.read(BATCHES, names, READ_S) if names else None
    return [found.notes.get(name) if found else None for name in names]


def _name(batch_id: str, number: int) -> str:
    return blake2b(f"batch {batch_id} {number}".encode(), digest_size=16).hexdigest()
