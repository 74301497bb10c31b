"""The YAML documents: read, validated, frozen, and checked against each other.

`config/gateway.yaml` names the upstream, the catalogue, the migrations and the prompt variants; paths are
relative to the file that names them, globs are sorted. A set of documents is taken whole or not at all:
`load` raises one ConfigError with a line for every problem, so that whoever watches the files can keep the
last good set. What is legal but unwise is a sentence from `warnings`, which never stops a start.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.compat.catalog import Catalogue, Model
from gateway.compat.prompts import PromptVariant
from gateway.config.catalogue import load_catalogue, suggestion
from gateway.config.checks import schema_files
from gateway.config.compat import PromptDocument, collisions, repetitions, to_variants
from gateway.config.documents import GatewayDocument, MigrationDocument, inconsistencies, to_spec
from gateway.config.reading import included, read, read_each
from gateway.config.shapes import validated
from gateway.config.sinks import NamedSink, to_sinks
from gateway.core.spec import MigrationSpec
from gateway.errors import ConfigError

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
    sinks: tuple[NamedSink, ...] = ()
    """Who can be told; what the environment must hold for it is named, not read."""


def load(path: Path) -> Config:
    """Return what `path` and the documents that it names say, or raise ConfigError with every problem."""
    root = validated(GatewayDocument, read(path) or {}, path)
    problems: list[str] = []
    catalogue = None
    try:
        catalogue = load_catalogue(path.parent / root.catalogue)
    except ConfigError as error:
        problems.append(error.message)
    sources = read_each(included(path, root.include), load_migration, problems)
    load_one = partial(load_prompt, catalogue=catalogue or Catalogue(()))
    variants = read_each(included(path, root.prompts), load_one, problems)
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
        sinks=to_sinks(root.notify),
    )


def files(path: Path) -> tuple[Path, ...]:
    """Return every file that `load(path)` would read, for watching; `path` alone while that is broken."""
    try:
        root = validated(GatewayDocument, read(path) or {}, path)
    except ConfigError:
        return (path,)
    migrations = included(path, root.include)
    beside = (file for migration in migrations for file in _named(migration))
    return (path, path.parent / root.catalogue, *migrations, *beside, *included(path, root.prompts))


def load_migration(path: Path) -> MigrationSpec:
    """Return the migration at `path`, consistent in itself, or raise ConfigError."""
    spec = to_spec(validated(MigrationDocument, read(path) or {}, path), path)
    problems = [f"{path}: {problem}" for problem in inconsistencies(spec)]
    if problems:
        raise ConfigError("\n".join(problems))
    return spec


def _named(path: Path) -> list[Path]:
    """Return the files that a migration names, as far as it can be read."""
    try:
        return schema_files(validated(MigrationDocument, read(path) or {}, path).checks, path)
    except ConfigError:
        return []


def load_prompt(path: Path, catalogue: Catalogue) -> tuple[PromptVariant, ...]:
    """Return the versions of the prompt variant at `path`, or raise ConfigError.

    A catalogue without a row has problems of its own, and misses no model.
    """
    document = validated(PromptDocument, read(path) or {}, path)
    problems = [f"{path}: {problem}" for problem in repetitions(document)]
    problems += (
        f"{path}: models: {model!r} is not in the catalogue{suggestion(model, catalogue)}"
        for model in document.models
        if catalogue.models and catalogue.find(model) is None
    )
    if problems:
        raise ConfigError("\n".join(problems))
    return to_variants(document, catalogue)


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
    configured = arms(spec, catalogue)
    for role, model_id, model in configured:
        if model is None:
            yield (
                f"{file}: {role}: {model_id!r} is not in the catalogue, and requests cannot be rewritten "
                f"for a model that is not known{suggestion(model_id, catalogue)}"
            )
    (_, _, control), (_, _, candidate) = configured
    if control is not None and control is candidate:
        yield f"{file}: candidate: {spec.candidate!r} is the same model as control, {spec.control!r}"


def arms(spec: MigrationSpec, catalogue: Catalogue) -> list[tuple[str, str, Model | None]]:
    """Return (role, configured id, its row) of both arms."""
    configured = {"control": spec.control, "candidate": spec.candidate}
    return [(role, model_id, catalogue.find(model_id)) for role, model_id in configured.items()]
