"""Requests in a line, and what the rules make of them."""

import json
from typing import Any

from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, parse
from gateway.compat.request import Context, Obstacle, Rewrite, obstacle, rewrite
from gateway.core.spec import CompatPolicy

Json = dict[str, Any]

KEEP = CompatPolicy()
HELLO: Json = {"role": "user", "content": "hello"}


def asked(source: Model, **fields: Any) -> Envelope:
    """Return a request for `source`; what is not given is the least that a message request has."""
    body = {"model": source.id, "max_tokens": 10_000, "messages": [HELLO], **fields}
    return parse(json.dumps(body).encode())


def draft_of(envelope: Envelope, source: Model, target: Model, policy: CompatPolicy = KEEP) -> Draft:
    """Return a request that no rule has touched yet."""
    return Draft(envelope, source, target, policy, envelope.fields)


def rewritten(
    source: Model, target: Model, *, policy: CompatPolicy = KEEP, counting: bool = False, **fields: Any
) -> tuple[Json, list[str]]:
    """Return the body that `target` gets, and `rule=class` of what was done."""
    done = rewrite(asked(source, **fields), source, target, policy, Context(counting=counting))
    return json.loads(done.body), listed(done)


def listed(done: Rewrite) -> list[str]:
    """Return `rule=class` of every change, in order."""
    return [f"{change.rule}={change.rewrite_class}" for change in done.changes]


def hindrance(source: Model, target: Model, policy: CompatPolicy = KEEP, **fields: Any) -> Obstacle | None:
    """Return what keeps `target` from serving the request."""
    return obstacle(asked(source, **fields), source, target, policy)
