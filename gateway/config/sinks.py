"""The shapes of `notify:` in gateway.yaml: who can be told.

The address of a chat is itself a secret, so it comes from the environment, as what signs does: the file names
the variables, `resolve` reads them. An address in the file is one that everybody may read.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.config.shapes import SOME, Document
from gateway.control.notify.sinks import CHANGES, ChangeKind, Sink, SinkKind
from gateway.core.address import upstream_address

logger = logging.getLogger(__name__)

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_SECRET_PATHS = ("hooks.slack.com", "discord.com", "webhook.office.com")


@dataclass(frozen=True, slots=True)
class NamedSink:
    """One place that hears of changes, as the file says it."""

    name: str
    kind: SinkKind
    url: str = ""
    url_env: str = ""
    """The variable that holds the URL, where the file does not."""
    secret_env: str = ""
    """The variable that holds what signs; empty: nothing is signed."""
    events: tuple[ChangeKind, ...] = CHANGES


def _public(url: str) -> str:
    """Return a URL that holds no secret; raises ValueError, and repeats nothing of it."""
    if "@" in url or "?" in url or "#" in url:
        raise ValueError("may hold no user, password or query; put it into a variable and name that: url_env")
    url = upstream_address(url)
    host = urlsplit(url).hostname or ""
    if any(host == place or host.endswith(f".{place}") for place in _SECRET_PATHS):
        raise ValueError("its path is a secret; put it into a variable and name that: url_env")
    return url


class SinkDocument(Document):
    """One place."""

    kind: SinkKind
    url: Annotated[str, AfterValidator(_public)] = ""
    url_env: Variable = ""
    secret_env: Variable = ""
    events: Annotated[tuple[ChangeKind, ...], SOME] = CHANGES

    @model_validator(mode="after")
    def _can_be_told(self) -> "SinkDocument":
        if bool(self.url) == bool(self.url_env):
            raise ValueError(f"needs url or url_env{', not both' if self.url else ''}")
        if self.kind == "slack" and self.secret_env:
            raise ValueError("secret_env is for kind webhook: a chat checks no signature")
        return self


def to_sinks(documents: Mapping[str, SinkDocument]) -> tuple[NamedSink, ...]:
    """Return the places that documents describe."""
    return tuple(NamedSink(name, **document.model_dump()) for name, document in documents.items())


def resolve(named: tuple[NamedSink, ...], environ: Mapping[str, str]) -> tuple[tuple[Sink, ...], list[str]]:
    """Return the sinks that can be told, and a sentence for each that cannot: its variable is not set.

    A webhook whose secret is missing is left out, too: its receiver would refuse what is not signed.
    """
    sinks: list[Sink] = []
    problems: list[str] = []
    for each in named:
        unset = [name for name in (each.url_env, each.secret_env) if name and not environ.get(name)]
        if unset:
            problems.append(f"notify.{each.name}: {' and '.join(unset)} is not set, so nobody is told there")
            continue
        url = each.url or environ[each.url_env]
        if not each.url and not _is_http(url):
            problems.append(f"notify.{each.name}: {each.url_env} holds no http:// or https:// address")
            continue
        secret = environ[each.secret_env] if each.secret_env else ""
        sinks.append(Sink(each.name, each.kind, url, secret, each.events))
    return tuple(sinks), problems


def reachable(named: tuple[NamedSink, ...], environ: Mapping[str, str]) -> dict[str, Sink]:
    """Return who can be told, by name, and log who cannot."""
    sinks, problems = resolve(named, environ)
    for problem in problems:
        logger.warning("somebody cannot be told", extra={"problem": problem})
    return {sink.name: sink for sink in sinks}


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port  # one that there cannot be is a ValueError
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
