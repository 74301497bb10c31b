"""How much work it may be to hold a value against a schema that somebody hostile may have written.

Whoever sends tools writes their schemas, and one of two kilobytes can ask for years: `allOf` of twice the
same reference, thirty times in a row, or one that refers to itself twice on the way down. The validator
cannot be interrupted and holds the interpreter meanwhile, so it is asked only where its work has a bound that
is small.

The bound is the greatest number of times that anything is looked at on the way from the top of a value of
this depth to one of its leaves, times the size of the value. Of `properties` one at most applies to a member,
of all else everything may. What cannot be followed (other names for places than pointers, a reference that
leads back to itself without going down) has no bound.
"""

from collections.abc import Iterable
from math import inf
from typing import Any
from urllib.parse import unquote

MOST_STEPS = 5_000
"""Of finding the bound itself; what takes more has none."""
_PATTERN = 100
"""What one pattern costs, per character, in the worst of cases."""
_UNEVALUATED = 3
"""How often what stands beside `unevaluated…` is looked at."""
_HERE = frozenset({
    "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies",
})  # fmt: skip
"""What applies to the very value; all other schemas apply to its members."""
_BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies"})
_DATA = frozenset({"$defs", "definitions", "enum", "const", "default", "examples", "required"})
_NAMES = frozenset({"$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef"})


class Cost:
    """Of one schema."""

    __slots__ = ("_known", "_root", "_seen")

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[int, float] = {}
        self._seen: dict[tuple[int, int], float] = {}
        """(Schema, depth) → what is known of it; kept from one depth to the next, as long as it is small."""

    def of(self, depth: int) -> float:
        """Return how often a part of a value of this depth may be looked at; infinite: nobody knows."""
        if any(cost == inf and at <= depth for at, cost in self._known.items()):
            return inf  # what is deeper costs no less
        if depth not in self._known:
            if len(self._seen) > MOST_STEPS // 2:
                self._seen = {}
            try:
                self._known[depth] = self._cost(self._root, depth, self._seen)
            except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
                self._known[depth] = inf
        return self._known[depth]

    def _cost(self, schema: Any, depth: int, seen: dict[tuple[int, int], float]) -> float:
        if not isinstance(schema, dict):
            return 1.0
        key = id(schema), depth
        if key in seen:
            return seen[key]
        seen[key] = inf  # until it is known: whoever comes here again has not gone down
        if (
            len(seen) > MOST_STEPS
            or (schema is not self._root and _is_place(schema))
            or _NAMES & schema.keys()
        ):
            return inf
        cost = 1.0 + sum(len(each) for each in schema.values() if isinstance(each, dict | list))
        cost += _PATTERN * ("pattern" in schema) + _PATTERN * len(schema.get("patternProperties", ()))
        for name, inner in schema.items():
            if name == "$ref":
                cost += self._cost(self._at(inner), depth, seen)
            elif name in _HERE:
                cost += sum(self._cost(each, depth, seen) for each in _schemas(name, inner))
            elif name not in _DATA and depth > 0:
                costs = (self._cost(each, depth - 1, seen) for each in _schemas(name, inner))
                cost += max(costs, default=0.0) if name == "properties" else sum(costs)
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
            cost *= _UNEVALUATED
        seen[key] = cost
        return cost

    def _at(self, reference: str) -> Any:
        """Return what a pointer leads to; raises ValueError or LookupError where that cannot be told."""
        if not reference.startswith("#") or (len(reference) > 1 and reference[1] != "/"):
            raise ValueError("not a pointer")
        place = self._root
        for part in reference[2:].split("/") if len(reference) > 1 else ():
            if place is not self._root and _is_place(place):
                raise ValueError("a document of its own")
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            place = place[int(name)] if isinstance(place, list) else place[name]
        return place


def _is_place(schema: Any) -> bool:
    """Tell whether references within it are relative to it."""
    return isinstance(schema, dict) and any(isinstance(schema.get(name), str) for name in ("$id", "id"))


def _schemas(keyword: str, inner: Any) -> Iterable[Any]:
    """Return the schemas of a keyword: one, a list of them, or some by name."""
    if isinstance(inner, dict):
        return inner.values() if keyword in _BY_NAME else (inner,)
    return inner if isinstance(inner, list) else ()
