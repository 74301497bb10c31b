"""The catalogue: its rows read, each consistent in itself, and naming only each other."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from gateway.compat.catalog import Catalogue, Model
from gateway.config.documents import CatalogueDocument
from gateway.config.reading import read
from gateway.config.shapes import validated
from gateway.errors import ConfigError


def load_catalogue(path: Path) -> Catalogue:
    """Return the rows of the catalogue at `path`, or raise ConfigError naming every offending value."""
    models = validated(CatalogueDocument, read(path), path).models
    problems = [
        f"{path}: models[{index}] ({model.id}): {p}"
        for index, model in enumerate(models)
        for p in _row(model)
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        catalogue = Catalogue(models)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    strangers = [
        f"{path}: models[{index}] ({model.id}): {p}"
        for index, model in enumerate(models)
        for p in _strangers(model, catalogue)
    ]
    if strangers:
        raise ConfigError("\n".join(strangers))
    return catalogue


def suggestion(model_id: str, catalogue: Catalogue) -> str:
    known = [name for model in catalogue.models for name in (model.id, *model.aliases)]
    close = get_close_matches(model_id, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


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
        "fallbacks: go with the feature fallbacks, and only with it": (
            ("fallbacks" in model.features) == bool(model.fallbacks)
        ),
        "lifecycle.retires_on: a retired model has its date": (
            model.lifecycle.status != "retired" or model.lifecycle.retires_on
        ),
    }
    return [sentence for sentence, holds in rules.items() if not holds]


def _strangers(model: Model, catalogue: Catalogue) -> Iterator[str]:
    """Yield which of the models that a row names have no row of that id."""
    named = {"advisors": model.advisors, "fallbacks": model.fallbacks, "reads": sorted(model.reads)}
    for field, ids in named.items():
        for model_id in ids:
            row = catalogue.find(model_id)
            if row is None:
                yield f"{field}: {model_id!r} is not in the catalogue{suggestion(model_id, catalogue)}"
            elif row.id != model_id:
                yield f"{field}: {model_id!r} is an alias; name the id {row.id!r}"
