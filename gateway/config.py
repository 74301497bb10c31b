"""The YAML documents: read, validated, frozen, and checked against each other.

`config/gateway.yaml` names the upstream, the catalogue, the migrations and the prompt variants; paths are
relative to the file that names them, globs are sorted. A set of documents is taken whole or not at all:
`load` raises one ConfigError with a line for every problem, so that whoever watches the files can keep the
last good set. What is legal but unwise is a sentence from `warnings`, which never stops a start.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import get_close_matches
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gateway.compat.catalog import Catalogue, Model
from gateway.compat.prompts import PromptVariant
from gateway.config_compat import PromptDocument, collisions, pointless, repetitions, to_variants, unwise
from gateway.config_documents import (
    CatalogueDocument,
    GatewayDocument,
    MigrationDocument,
    inconsistencies,
    to_spec,
)
from gateway.config_shapes import validated
from gateway.core.spec import MigrationSpec
from gateway.errors import ConfigError

NOTICE = timedelta(days=60)
"""How long before a model's retirement a warning begins."""

_JUDGED_BREAKERS = frozenset({"error_rate", "fallback_rate"})
_DATED = re.compile(r"-\d{8}$")

T = TypeVar("T")
Source = tuple[Path, MigrationSpec]


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the documents say, frozen."""

    catalogue: Catalogue
    migrations: tuple[MigrationSpec, ...]
    """In the order of their files' names."""
    prompts: tuple[PromptVariant, ...]
    """Every version of every variant."""
    upstream_url: str
    connect_timeout_s: float
    first_byte_timeout_s: float
    ping_after_s: float
    """Silence of the upstream after which a stream gets a ping."""
    max_body_bytes: int
    max_batch_bytes: int
    """Of a request, before and after decoding."""
    pin_ttl_s: int
    """How long an idle conversation keeps its arm."""


def load(path: Path) -> Config:
    """Return what `path` and the documents that it names say, or raise ConfigError with every problem."""
    root = validated(GatewayDocument, _read(path) or {}, path)
    problems: list[str] = []
    catalogue = None
    try:
        catalogue = load_catalogue(path.parent / root.catalogue)
    except ConfigError as error:
        problems.append(error.message)
    sources = _each(_included(path, root.include), load_migration, problems)
    load_one = partial(load_prompt, catalogue=catalogue or Catalogue(()))
    variants = _each(_included(path, root.prompts), load_one, problems)
    problems += _conflicts(sources)
    problems += collisions(variants)
    if catalogue is not None:
        problems += (line for file, spec in sources for line in _misfits(file, spec, catalogue))
    if problems or catalogue is None:
        raise ConfigError("\n".join(problems))
    return Config(
        catalogue=catalogue,
        migrations=tuple(spec for _, spec in sources),
        prompts=tuple(each for _, versions in variants for each in versions),
        upstream_url=root.upstream.url,
        connect_timeout_s=root.upstream.connect_timeout,
        first_byte_timeout_s=root.upstream.first_byte_timeout,
        ping_after_s=root.relay.ping_after,
        max_body_bytes=int(root.limits.body_mib * 1024 * 1024),
        max_batch_bytes=int(root.limits.batch_mib * 1024 * 1024),
        pin_ttl_s=int(root.pins.idle_ttl),
    )


def files(path: Path) -> tuple[Path, ...]:
    """Return every file that `load(path)` would read, for watching; `path` alone while that is broken."""
    try:
        root = validated(GatewayDocument, _read(path) or {}, path)
    except ConfigError:
        return (path,)
    return (path, path.parent / root.catalogue, *_included(path, (*root.include, *root.prompts)))


def load_migration(path: Path) -> MigrationSpec:
    """Return the migration at `path`, consistent in itself, or raise ConfigError."""
    spec = to_spec(validated(MigrationDocument, _read(path) or {}, path))
    problems = [f"{path}: {problem}" for problem in inconsistencies(spec)]
    if problems:
        raise ConfigError("\n".join(problems))
    return spec


def load_prompt(path: Path, catalogue: Catalogue) -> tuple[PromptVariant, ...]:
    """Return the versions of the prompt variant at `path`, or raise ConfigError.

    A catalogue without a row has problems of its own, and misses no model.
    """
    document = validated(PromptDocument, _read(path) or {}, path)
    problems = [f"{path}: {problem}" for problem in repetitions(document)]
    problems += (
        f"{path}: models: {model!r} is not in the catalogue{_suggestion(model, catalogue)}"
        for model in document.models
        if catalogue.models and catalogue.find(model) is None
    )
    if problems:
        raise ConfigError("\n".join(problems))
    return to_variants(document, catalogue)


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


def warnings(config: Config, today: date) -> list[str]:
    """Return what is legal but unwise, one sentence each; nothing of it stops a start."""
    return [
        *(f"{spec.name}: {each}" for spec in config.migrations for each in _warnings(spec, config, today)),
        *unwise(config.prompts, config.migrations),
    ]


def _warnings(spec: MigrationSpec, config: Config, today: date) -> Iterator[str]:
    find = config.catalogue.find
    control, candidate = find(spec.control), find(spec.candidate)
    for role, asked, model in _arms(spec, config.catalogue):
        if model is not None:
            yield from (f"{role}: {each}" for each in _about(asked, model, today))
    for model_id in spec.models:
        model = find(model_id)
        if model is None:
            hint = _suggestion(model_id, config.catalogue)
            yield f"match.models: {model_id!r} is not in the catalogue{hint}"
        elif model is not find(spec.control):
            yield f"match.models: {model_id!r} is {model.id}, not control; its requests go to {spec.control}"
    if spec.holdback.percent and spec.holdback.until and date.fromisoformat(spec.holdback.until) < today:
        yield f"holdback.until: {spec.holdback.until} has passed, and units are still held back"
    if control is not None and candidate is not None:
        yield from pointless(spec.compat, control, candidate)
    if unjudged := _not_judged(spec):
        yield f"read and kept with the run, but nothing acts on it yet: {', '.join(unjudged)}"


def _about(asked: str, model: Model, today: date) -> Iterator[str]:
    if asked != model.id and _DATED.search(model.id):
        yield f"{asked!r} is an alias that may move; name the dated id {model.id!r}"
    retires_on = model.lifecycle.retires_on
    if model.lifecycle.status == "retired" or (retires_on is not None and retires_on <= today):
        yield f"{asked!r} is retired since {retires_on}; every request to it fails"
    elif retires_on is not None and retires_on - today <= NOTICE:
        days = (retires_on - today).days
        yield f"{asked!r} retires on {retires_on}, in {days} day{'s' if days > 1 else ''}"
    elif model.lifecycle.status == "deprecated":
        yield f"{asked!r} is deprecated; {model.lifecycle.note or f'it retires on {retires_on}'}"
    if model.prices is None:
        yield f"{asked!r} has no price, so its cost is not counted"


def _not_judged(spec: MigrationSpec) -> list[str]:
    """Return what is in force by the document, or by default, although people still advance, compare and
    tell."""
    options = {
        "stages: hold": any(stage.hold_s for stage in spec.stages),
        "stages: min_units": any(stage.min_units for stage in spec.stages),
        "stages: max_regression": any(stage.max_regression is not None for stage in spec.stages),
        "stages: approval": any(stage.approval for stage in spec.stages),
        **{f"gates.breaker.{name}": name not in _JUDGED_BREAKERS for name in spec.gates.breaker},
        "gates.rollback": spec.gates.rollback,
        "gates.hold": spec.gates.hold,
        "on_rollback.notify": spec.on_rollback.notify,
    }
    return [option for option, is_set in options.items() if is_set]


# --- checks -----------------------------------------------------------------------------------------------


def _conflicts(sources: Sequence[Source]) -> Iterator[str]:
    """Yield what two migrations cannot both have."""
    names: dict[str, Path] = {}
    governed: dict[str, str] = {}
    for file, spec in sources:
        if spec.name in names:
            yield f"{file}: name: {spec.name!r} is taken by {names[spec.name]}"
        names.setdefault(spec.name, file)
        for model_id in dict.fromkeys(spec.models):
            if model_id in governed:
                yield f"{file}: match.models: {model_id!r} is governed by {governed[model_id]!r} already"
            governed.setdefault(model_id, spec.name)


def _misfits(file: Path, spec: MigrationSpec, catalogue: Catalogue) -> Iterator[str]:
    """Yield why the catalogue cannot carry this migration."""
    arms = _arms(spec, catalogue)
    for role, model_id, model in arms:
        if model is None:
            yield (
                f"{file}: {role}: {model_id!r} is not in the catalogue, and requests cannot be rewritten "
                f"for a model that is not known{_suggestion(model_id, catalogue)}"
            )
    (_, _, control), (_, _, candidate) = arms
    if control is not None and control is candidate:
        yield f"{file}: candidate: {spec.candidate!r} is the same model as control, {spec.control!r}"


def _arms(spec: MigrationSpec, catalogue: Catalogue) -> list[tuple[str, str, Model | None]]:
    """Return (role, configured id, its row) of both arms."""
    configured = {"control": spec.control, "candidate": spec.candidate}
    return [(role, model_id, catalogue.find(model_id)) for role, model_id in configured.items()]


def _suggestion(model_id: str, catalogue: Catalogue) -> str:
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
                yield f"{field}: {model_id!r} is not in the catalogue{_suggestion(model_id, catalogue)}"
            elif row.id != model_id:
                yield f"{field}: {model_id!r} is an alias; name the id {row.id!r}"


# --- reading -----------------------------------------------------------------------------------------------


def _included(path: Path, patterns: Iterable[str]) -> list[Path]:
    """Return the files that patterns name, each once; a name without a wildcard stands for itself."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = sorted(glob(pattern, root_dir=path.parent)) if has_magic(pattern) else [pattern]
        found |= dict.fromkeys(path.parent / match for match in matches)
    return list(found)


def _each(paths: Iterable[Path], reader: Callable[[Path], T], problems: list[str]) -> list[tuple[Path, T]]:
    """Read every file, and write down what is wrong with those that cannot be."""
    found = []
    for file in paths:
        try:
            found.append((file, reader(file)))
        except ConfigError as error:
            problems.append(error.message)
    return found


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
