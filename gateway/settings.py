"""What the environment says: the knobs of one process, prefix `GATEWAY_`.

Read once, at start, and handed down as plain values; nothing below `app` knows that there is an environment.
Credentials are SecretStr, so they show in no repr; a message about a setting names the variable and what it
should look like, never what it held. Blanks around a value do not count (a secret that was read from a file
ends with a line break), and an empty variable counts as unset.

One rule joins settings: with `UPSTREAM_API_KEY` the gateway pays for whoever calls, so it must know its
callers (`CLIENT_KEYS`) or be reachable from this machine alone.
"""

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gateway.core.address import http_address, store_address, upstream_address
from gateway.errors import ConfigError

PREFIX = "GATEWAY_"
Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A caller of the data path."""

    name: str
    key: SecretStr


@dataclass(frozen=True, slots=True)
class AdminToken:
    """Somebody who may look at or steer the rollout."""

    name: str
    role: Role
    token: SecretStr


def _client_keys(value: object) -> object:
    """`name:key,…`; a key may hold colons."""
    if not isinstance(value, str):
        return value
    keys = []
    for entry in _entries(value):
        name, _, key = (part.strip() for part in entry.partition(":"))
        if not name or not key:
            raise ValueError("each entry is name:key, separated by commas")
        _refuse_unsendable(name, key)
        keys.append(ClientKey(name, SecretStr(key)))
    _refuse_repeats([each.name for each in keys], [each.key for each in keys])
    return tuple(keys)


def _admin_tokens(value: object) -> object:
    """`name:role:token,…` or `role:token,…`."""
    if not isinstance(value, str):
        return value
    tokens = []
    for entry in _entries(value):
        name, _, rest = entry.partition(":")
        role, _, token = rest.rpartition(":")
        name, role, token = name.strip(), role.strip(), token.strip()
        known = next((each for each in ROLES if each == (role or name)), None)
        if known is None or not name or not token:
            raise ValueError(
                "each entry is name:role:token or role:token, separated by commas, "
                f"with one of the roles {', '.join(ROLES)} and no colon in the token"
            )
        _refuse_unsendable(name, token)
        tokens.append(AdminToken(name, known, SecretStr(token)))
    _refuse_repeats([each.name for each in tokens], [each.token for each in tokens])
    return tuple(tokens)


def _entries(value: str) -> list[str]:
    return [entry.strip() for entry in value.split(",") if entry.strip()]


def _refuse_repeats(names: list[str], secrets: list[SecretStr]) -> None:
    # Not even names are repeated here: somebody may have put the secret first.
    if len(set(names)) < len(names):
        raise ValueError("a name stands twice")
    if len({secret.get_secret_value() for secret in secrets}) < len(secrets):
        raise ValueError("two names have the same secret")


def _refuse_unsendable(*texts: str) -> None:
    if not all(text.isascii() and text.isprintable() for text in texts):
        raise ValueError("holds a line break or another character that no header can carry")


def _upstream_key(value: SecretStr) -> SecretStr:
    _refuse_unsendable(value.get_secret_value())
    return value


def _store_url(value: SecretStr) -> SecretStr:
    store_address(value.get_secret_value())
    return value


def _not_a_service_link(value: object) -> object:
    """Kubernetes sets GATEWAY_PORT=tcp://… beside a service that is called gateway; that is not ours."""
    return 8080 if isinstance(value, str) and value.startswith("tcp://") else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    """The environment, validated and frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    config: Path = Path("config/gateway.yaml")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535), BeforeValidator(_not_a_service_link)] = 8080
    """0: any free port."""
    workers: Annotated[int, Field(ge=1)] = 1
    upstream_url: Annotated[str, AfterValidator(upstream_address)] | None = None
    """None: what the configuration says, which is the public Claude API unless changed."""
    public_url: Annotated[str, AfterValidator(upstream_address)] | None = None
    """Where clients reach the gateway, for links in answers; None: the host that a request names."""
    upstream_api_key: Annotated[SecretStr, AfterValidator(_upstream_key)] | None = None
    """Replaces the callers' credentials."""
    client_keys: Annotated[tuple[ClientKey, ...], NoDecode, BeforeValidator(_client_keys)] = ()
    """Who may call; empty: everybody, with a credential of the upstream's."""
    admin_tokens: Annotated[tuple[AdminToken, ...], NoDecode, BeforeValidator(_admin_tokens)] = ()
    store_url: Annotated[SecretStr, AfterValidator(_store_url)] = SecretStr("sqlite:///data/gateway.db")
    """Secret because a Redis URL may hold a password."""
    data_dir: Path = Path("data")
    drain_grace_s: Seconds = 0.0
    """How long SIGTERM leaves the load balancer to send new requests elsewhere; 0: there is none."""
    drain_timeout_s: Seconds = 600.0
    """How long running answers may take to finish after that."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    log_format: Annotated[Literal["json", "console"], BeforeValidator(_lower)] = "json"

    @property
    def own_url(self) -> str:
        """Where the command line finds this gateway; empty: nobody said, so as it is told or by itself."""
        if self.public_url is not None:
            return self.public_url
        everywhere = self.host in ("0.0.0.0", "::")
        return "" if everywhere or not self.port else http_address(self.host, self.port)

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None) -> Self:
        """Return what `env` (the process's environment by default) says, or raise ConfigError.

        A command line that overrides a setting overlays its variable:
        `load({**os.environ, "GATEWAY_PORT": "0"})`.
        """
        source = EnvSettingsSource(cls)
        given = os.environ if env is None else env
        source.env_vars = {
            name.lower(): stripped for name, value in given.items() if (stripped := value.strip())
        }
        try:
            return cls(**source())
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            lines = [_sentence(problem["loc"], problem["msg"]) for problem in problems]
            raise ConfigError("\n".join(lines)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from `load` alone, so that what is given decides, in tests as in service."""
        return (init_settings,)

    @model_validator(mode="after")
    def _knows_who_it_pays_for(self) -> Self:
        if self.upstream_api_key is not None and not self.client_keys and not _is_loopback(self.host):
            raise ValueError(
                f"{PREFIX}UPSTREAM_API_KEY with {PREFIX}HOST={self.host} would let anybody spend it; "
                f"set {PREFIX}CLIENT_KEYS, or bind to 127.0.0.1"
            )
        return self


def _sentence(place: Sequence[str | int], message: str) -> str:
    variable = f"{PREFIX}{str(place[0]).upper()}: " if place else ""
    return variable + message.removeprefix("Value error, ")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
