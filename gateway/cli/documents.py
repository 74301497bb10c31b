"""`gateway check`, `gateway models` and `gateway system-hash`: the documents, read where they lie, without a
running gateway.

`models sync` alone asks somebody: the upstream, for the models that it lists. The catalogue stays as it is.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import view
from gateway.compat import prompts
from gateway.compat.catalog import Catalogue, Model
from gateway.compat.drift import compare
from gateway.compat.envelope import parse
from gateway.compat.explain import matrix
from gateway.compat.prompts import PromptVariant
from gateway.config import load, warnings
from gateway.config.stages import describe, plan_of
from gateway.control.vendor import list_models as list_live
from gateway.core.address import shown
from gateway.core.spec import MigrationSpec
from gateway.core.types import parse_json, to_json
from gateway.errors import ConfigError, NotFound
from gateway.settings import Settings
from gateway.tasks import SystemClock

models = typer.Typer(no_args_is_help=True, help="The catalogue: what each model is, costs and accepts.")

FAST_MODE = {
    "no": "rejected",
    "ignored": "accepted without effect",
    "beta": "with its beta",
    "yes": "accepted",
}
HELD_TO = {
    "never": "is not held to its conversation",
    "recent_accounts": "is held to its conversation for accounts since 2026-08-31",
    "always": "is held to its conversation",
}

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="The gateway's YAML document. [GATEWAY_CONFIG]", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def check(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Validate the configuration and the catalogue, and warn of what is legal but unwise.

    Exit code: 0 valid, with warnings or without, 2 not valid.
    """
    path = config_path(config)
    try:
        documents = load(path)
    except ConfigError as error:
        if not as_json:
            raise
        typer.echo(to_json({"ok": False, "errors": error.message.splitlines(), "warnings": []}).decode())
        raise typer.Exit(2) from None
    sentences = warnings(documents, _today())
    if as_json:
        said = {
            "ok": True,
            "errors": [],
            "warnings": sentences,
            "migrations": [_told(spec) for spec in documents.migrations],
            "prompts": [_shown(variant) for variant in documents.prompts],
        }
        typer.echo(to_json(said).decode())
        return
    counts = (documents.migrations, "migration"), (documents.catalogue.models, "model")
    variants = {variant.name for variant in documents.prompts}
    parts = [_counted(len(things), noun) for things, noun in (*counts, (variants, "prompt variant"))]
    typer.echo(f"{path} is valid: {', '.join(parts)}")
    for line in (*_variants(documents.prompts), *_climbs(documents.migrations)):
        typer.echo(line)
    for sentence in sentences:
        view.console().print(f"warning: {sentence}", style="yellow")


def system_hash(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A system prompt, or a request with one.")],
) -> None:
    """Print the hash by which a prompt variant knows a system prompt (`match.system_sha256`)."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        body = parse_json(data)
    except ValueError:
        body = None
    if isinstance(body, dict):
        found = prompts.system_hash(parse(to_json({"model": "", "messages": [], **body})))
    else:
        found = prompts.text_hash(data.decode("utf-8", "replace"))
    if found is None:
        raise NotFound(f"{file}: holds no system prompt")
    typer.echo(found)


def _variants(variants: Sequence[PromptVariant]) -> Iterator[str]:
    """Yield one line per variant: what it says to whom, and which version a new conversation gets."""
    for name, group in groupby(variants, key=lambda variant: variant.name):
        versions = sorted(group, key=lambda variant: variant.version)
        newest = versions[-1]
        older = f" (kept for older conversations: {', '.join(str(each.version) for each in versions[:-1])})"
        asked = [f"task {task}" for task in sorted(newest.tasks)]
        asked += [f"system prompt {newest.system_sha256[:12]}…"] if newest.system_sha256 else []
        yield (
            f"prompt variant {name}: version {newest.version}{older if versions[1:] else ''} {newest.mode}s "
            f"{_counted(len(newest.text), 'character')} for {', '.join(sorted(newest.models))}"
            f"{'; ' if asked else ''}{', '.join(asked)}"
        )


def _climbs(migrations: Sequence[MigrationSpec]) -> Iterator[str]:
    """Yield how each migration climbs, one line per stage: what a plan's name stands for, too."""
    for spec in migrations:
        plan = plan_of(spec.stages)
        by_itself = "climbs by itself" if spec.automatic else "is advanced by hand"
        yield f"migration {spec.name}: {f'plan {plan}, ' if plan else ''}{by_itself}"
        yield from (f"  {describe(stage)}" for stage in spec.stages)


def _told(spec: MigrationSpec) -> dict[str, object]:
    """Return what `--json` tells of a migration's stages."""
    return {
        "name": spec.name,
        "plan": plan_of(spec.stages),
        "automatic": spec.automatic,
        "stages": [describe(stage) for stage in spec.stages],
    }


def _shown(variant: PromptVariant) -> dict[str, object]:
    """Return what `--json` tells of a version, its text aside."""
    return {
        "name": variant.name,
        "version": variant.version,
        "models": sorted(variant.models),
        "tasks": sorted(variant.tasks),
        "system_sha256": variant.system_sha256,
        "mode": variant.mode,
        "characters": len(variant.text),
    }


@models.command("list")
def list_models(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Every model, one line each; prices are USD per million tokens."""
    catalogue = _catalogue(config)
    if as_json:
        typer.echo(to_json({"data": catalogue.models}).decode())
    else:
        view.console().print(view.models_table(catalogue.models))


@models.command("show")
def show_model(
    model_id: Annotated[str, typer.Argument(metavar="ID", help="An id or an alias, exactly.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Everything that the catalogue says about one model."""
    model = _catalogue(config).find(model_id)
    if model is None:
        raise NotFound(f"{model_id!r} is not in the catalogue; `gateway models list` shows what is")
    if as_json:
        typer.echo(to_json(model).decode())
    else:
        view.console().print(view.facts(_facts(model)))


@models.command("sync")
def sync_models(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Compare the catalogue with the models that the upstream lists now, and change nothing.

    Asks GATEWAY_UPSTREAM_URL (else the document's upstream) for /v1/models, with GATEWAY_UPSTREAM_API_KEY.

    Exit code: 0 they agree, 1 they differ, 2 the list could not be read.
    """
    settings = _settings(config)
    if settings.upstream_api_key is None:
        raise ConfigError("the upstream lists its models for a key: set GATEWAY_UPSTREAM_API_KEY")
    documents = load(settings.config)
    url = settings.upstream_url or documents.upstream_url
    live = asyncio.run(list_live(url, settings.upstream_api_key.get_secret_value()))
    drifts = compare(documents.catalogue, live)
    if as_json:
        counts = {"catalogue": len(documents.catalogue.models), "listed": len(live)}
        typer.echo(to_json({"data": drifts, "counts": counts}).decode())
    else:
        rows = _counted(len(documents.catalogue.models), "model")
        found = f"differ in {_counted(len(drifts), 'point')}" if drifts else "agree"
        typer.echo(f"the catalogue ({rows}) and {shown(url)} ({len(live)} listed) {found}")
        if drifts:
            view.console().print(view.drifts_table(drifts))
    if drifts:
        raise typer.Exit(1)


@models.command("matrix")
def write_matrix(config: ConfigFile = None) -> None:
    """Write docs/compatibility.md: what becomes of every feature between every two models.

    `make docs` does it for the catalogue that is shipped; the rules and the catalogue are all it depends on.
    """
    typer.echo(matrix.document(_catalogue(config).models), nl=False)


def _facts(model: Model) -> Iterator[tuple[str, str]]:
    yield "model", f"{model.display_name}   {model.id}"
    yield "aliases", ", ".join(model.aliases) or "none"
    lifecycle, decision = model.lifecycle, model.decision
    until = f", retires {lifecycle.retires_on}" if lifecycle.retires_on else ""
    yield "lifecycle", f"{lifecycle.status}{until}" + (f"; {lifecycle.note}" if lifecycle.note else "")
    tested = f", tested {decision.tested_on}" if decision.tested_on else ""
    yield "our decision", f"{decision.tier}{tested}" + (f"; {decision.evidence}" if decision.evidence else "")
    yield "context", f"{view.tokens(model.context_tokens)} in, {view.tokens(model.max_output_tokens)} out"
    if prices := model.prices:
        yield "prices", f"{prices.input:g} in, {prices.output:g} out (USD per million tokens)"
        yield (
            "cache",
            f"{prices.cache_write_5m:g} written for 5 min, {prices.cache_write_1h:g} for 1 h, "
            f"{prices.cache_read:g} read; from {model.min_cacheable_tokens} tokens",
        )
        yield "batch", f"{prices.batch_input:g} in, {prices.batch_output:g} out"
    if long := model.long_prices:
        above = view.tokens(long.above_prompt_tokens)
        yield "long prompts", f"{long.prices.input:g} in, {long.prices.output:g} out above {above} tokens"
    yield from _accepted(model)
    yield "advisors", ", ".join(model.advisors) or "none"
    yield "fallbacks", ", ".join(model.fallbacks) or "none"
    yield "its thinking", f"{HELD_TO[model.checks_prefix]}{', and to its account' * model.binds_account}"
    yield "reads thinking of", ", ".join(sorted(model.reads - {model.id})) or "no other model"
    yield "source", model.source


def _accepted(model: Model) -> Iterator[tuple[str, str]]:
    """What it takes."""
    thinking = model.thinking
    yield "thinking", f"{', '.join(sorted(thinking.types))}; left out means {thinking.omitted}"
    effort = model.effort
    yield (
        "effort",
        f"{', '.join(effort.levels)}; {effort.default} by default" if effort.levels else "rejected",
    )
    yield (
        "sampling",
        {"any": "accepted", "defaults": "default values only", "none": "rejected"}[model.sampling.accepts],
    )
    yield "prefill", "accepted" if model.prefill else "rejected"
    yield (
        "forced tool",
        {"always": "accepted", "thinking_off": "with thinking off", "never": "rejected"}[model.forced_tool],
    )
    yield "turns of role system", "accepted" if model.mid_conversation_system else "rejected"
    yield "fast mode", FAST_MODE[model.fast_mode]
    yield "features", ", ".join(sorted(model.features)) or "none of those that differ"
    yield "rejects tools", ", ".join(sorted(model.rejects_tools)) or "none"


def _catalogue(config: Path | None) -> Catalogue:
    return load(config_path(config)).catalogue


def config_path(config: Path | None) -> Path:
    """Return the document that is meant: the one that was named, else the environment's, else the default."""
    return _settings(config).config


def _settings(config: Path | None) -> Settings:
    given = {"GATEWAY_CONFIG": str(config)} if config else {}
    return Settings.load({**os.environ, **given})


def _today() -> date:
    return datetime.fromtimestamp(SystemClock().now(), UTC).date()


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
