"""The YAML documents: read, validated, frozen, and checked against each other.

`config/gateway.yaml` names the upstream, the catalogue and the migrations; paths are relative to the file
that names them, globs are sorted. A set of documents is taken whole or not at all: `load` raises one
ConfigError with a line for every problem, so that whoever watches the files can keep the last good set. What
is legal but unwise is a sentence from `warnings`, which never stops a start.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from gateway.compat.catalog import Catalogue, Model
from gateway.config_documents import CatalogueDocument, validated
from gateway.errors import ConfigError


def load_catalogue(path: Path) -> Catalogue:
    """Return the rows of the catalogue at `path`, or raise ConfigError naming every offending value."""
    models = validated(CatalogueDocument, _read(path), path).models
    problems = [
        f"{path}: models[{index}] ({model.id}): {p}"
        for index, model in enumerate(models)
        for p in _row(model)
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        return Catalogue(models)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _row(model: Model) -> list[str]:
    """Return what is wrong between the fields of one row."""
    cards = [model.prices, model.long_prices.prices if model.long_prices else None]
    numbers = [getattr(card, name) for card in cards if card for name in card.__slots__]
    low = [model.context_tokens, model.max_output_tokens, model.min_cacheable_tokens]
    rules = {
        "prices: a price is not negative": all(number is None or number >= 0 for number in numbers),
        "long_prices: needs prices for shorter prompts": model.prices or not model.long_prices,
        "context_tokens, max_output_tokens, min_cacheable_tokens: must be positive": min(low) > 0,
        "thinking.types: at least one is accepted": model.thinking.types,
        "effort.default: is one of effort.levels": model.effort.default in (model.effort.levels or (None,)),
        "sampling.defaults: go with accepts: defaults, and only with it": (
            (model.sampling.accepts == "defaults") == bool(model.sampling.defaults)
        ),
        "sampling.defaults: only temperature, top_p and top_k": (
            model.sampling.defaults.keys() <= {"temperature", "top_p", "top_k"}
        ),
        "lifecycle.retires_on: a retired model has its date": (
            model.lifecycle.status != "retired" or model.lifecycle.retires_on
        ),
    }
    return [sentence for sentence, holds in rules.items() if not holds]


# --- reading -----------------------------------------------------------------------------------------------


class _StrictLoader(yaml.SafeLoader):
    """YAML without its two traps: `on` and `no` are words, and a key stands once."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"key {key.value!r} stands twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return node


_BOOL = "tag:yaml.org,2002:bool"
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def _read(path: Path) -> object:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8") from None
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{path}: {line}{error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from None
