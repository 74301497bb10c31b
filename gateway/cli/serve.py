"""`gateway serve` and `gateway simulate`: a server in the foreground, and what it says when it comes up.

The port is bound before anything else happens, so that a port in use is one line and not a traceback, and
port 0 can be named. Flags override the environment; workers are started with the environment, so what a flag
said is put there for them.
"""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from gateway import __version__, logs
from gateway.cli import view
from gateway.cli.edge import Edge
from gateway.cli.workers import Workers, metrics_directory
from gateway.config import Config, load
from gateway.core.address import http_address, shown
from gateway.errors import ConfigError, GatewayError
from gateway.proxy.transport.wire import Origin
from gateway.series import share
from gateway.settings import PREFIX, Settings
from gateway.store.backends.factory import make_store
from gateway.tasks import SystemClock

KEEP_ALIVE_S = 75
"""Longer than clients and load balancers keep idle connections, so that they are the ones who close."""

GATEWAY: Mapping[str, Any] = {
    "http": Edge,
    "factory": True,
    "lifespan": "on",
    "date_header": False,  # the upstream's travels with its answer
}
SIMULATOR: Mapping[str, Any] = {"http": "httptools", "lifespan": "off", "timeout_graceful_shutdown": 1}

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="The gateway's YAML document. [GATEWAY_CONFIG]", show_default=False),
]
Host = Annotated[
    str | None, typer.Option(help="Address to bind, 127.0.0.1 by default. [GATEWAY_HOST]", show_default=False)
]

FaultSpecs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SPEC", help="What goes wrong, e.g. model=claude-opus-5-5,kind=overloaded,rate=0.3."
    ),
]
SwitchSpecs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="How an open question is settled or models behave, e.g. recent_account=true.",
    ),
]


def serve(
    config: ConfigFile = None,
    host: Host = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to bind, 8080 by default; 0: any. [GATEWAY_PORT]", min=0, max=65535, show_default=False
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that serve. [GATEWAY_WORKERS]", min=1, show_default=False)
    ] = None,
) -> None:
    """Run the gateway until it is told to stop; running answers finish first.

    Everything else comes from GATEWAY_* variables. Exit code: 0 stopped, 2 it could not start, and says why.
    """
    flags = {"CONFIG": config, "HOST": host, "PORT": port, "WORKERS": workers}
    os.environ.update({f"GATEWAY_{name}": str(value) for name, value in flags.items() if value is not None})
    settings = Settings.load()
    documents = load(settings.config)
    _prepare(settings.data_dir)
    _rehearse(settings, documents)
    logs.configure(settings.log_level, settings.log_format)
    with bound(settings.host, settings.port) as listener, _shared_metrics(settings):
        view.console().print(_start_block(settings, documents, url_of(listener)))
        sys.stdout.flush()
        os.environ[f"{PREFIX}PORT"] = str(listener.getsockname()[1])  # for who tells people where it is
        options = {**GATEWAY, "timeout_graceful_shutdown": settings.drain_timeout_s}
        run("gateway.app:create_app", listener, options, workers=settings.workers)


def simulate(
    config: ConfigFile = None,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to bind; 0: any.", min=0, max=65535)] = 8090,
    fault: FaultSpecs = None,
    *,
    speed: Annotated[
        float, typer.Option(help="How many times faster than a model it answers; 0: at once.", min=0)
    ] = 1,
    refusals: Annotated[
        float, typer.Option(help="Scales how often models decline by themselves; 0: never.", min=0)
    ] = 1,
    switch: SwitchSpecs = None,
) -> None:
    """Run a Messages API that enforces each model's rules and costs nothing. --fault and --switch may be
    repeated.
    """
    # Only here: the other commands need not wait for the simulator to be imported.
    from gateway.simulator.app import build_simulator
    from gateway.simulator.faults import parse_fault
    from gateway.simulator.rules.switches import Switches, read_switches

    given = {"GATEWAY_CONFIG": str(config)} if config else {}
    settings = Settings.load({**os.environ, **given})
    catalogue = load(settings.config).catalogue
    faults = [parse_fault(spec) for spec in fault or ()]
    simulator = build_simulator(
        catalogue,
        clock=SystemClock(),
        faults=faults,
        speed=speed,
        refusals=refusals,
        switches=read_switches(",".join(switch or ()), Switches()),
    )
    logs.configure("warning", settings.log_format)
    with bound(host, port) as listener:
        rows = [("simulator", url_of(listener)), ("models", f"{len(catalogue.models)} in the catalogue")]
        rows += [("fault", spec) for spec in fault or ()] + [("switch", spec) for spec in switch or ()]
        view.console().print(view.facts(rows))
        sys.stdout.flush()
        run(simulator, listener, SIMULATOR)


def run(
    app: Callable[..., Any] | str, listener: socket.socket, options: Mapping[str, Any], *, workers: int = 1
) -> None:
    """Serve `app` on a bound socket until the process is told to stop."""
    config = uvicorn.Config(
        app,
        workers=workers,
        loop="auto",  # uvloop wherever it exists
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        **options,
    )
    started = _run_workers(config, listener) if workers > 1 else _run_here(config, listener)
    if not started:
        raise GatewayError("the server could not start; the log above says why")


def _run_workers(config: uvicorn.Config, listener: socket.socket) -> bool:
    supervisor = Workers(config, listener)
    supervisor.run()
    return not supervisor.failed


def _run_here(config: uvicorn.Config, listener: socket.socket) -> bool:
    server = uvicorn.Server(config)
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        server.run(sockets=[listener])
    except (KeyboardInterrupt, _Told):
        # uvicorn has finished in good order and raises the signal again for whoever called it.
        return True
    except SystemExit as end:
        return end.code != STARTUP_FAILURE
    finally:
        signal.signal(signal.SIGTERM, before)
    return True


class _Told(BaseException):
    """The process was asked to end."""


def _leave(*_: object) -> None:
    raise _Told


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket that is bound and not yet listening; raises ConfigError in words when that is
    impossible."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, UnicodeError) as error:
            why = (getattr(error, "strerror", None) or str(error)).lower()
            raise ConfigError(
                f"cannot listen on {host} port {port}: {why}; "
                "stop what uses it or choose another with --port or --host"
            ) from None
        listener.set_inheritable(True)
        yield listener
    finally:
        listener.close()


def url_of(listener: socket.socket) -> str:
    """Return the address that clients use."""
    host, port = listener.getsockname()[:2]
    return http_address(host, port)


def _prepare(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=data_dir).close()
    except OSError as error:
        raise ConfigError(f"GATEWAY_DATA_DIR: {data_dir} cannot be written to: {error.strerror}") from None


def _rehearse(settings: Settings, documents: Config) -> None:
    """Make what may turn out to be impossible; raises ConfigError here, and not in every worker."""
    make_store(settings.store_url.get_secret_value(), clock=SystemClock())
    Origin.parse(settings.upstream_url or documents.upstream_url)


@contextmanager
def _shared_metrics(settings: Settings) -> Iterator[None]:
    """Let workers count in one directory of this `serve`, made before they start and removed after they
    end."""
    if settings.workers == 1:
        yield
        return
    with metrics_directory(settings.data_dir) as directory:
        os.environ.update(share(directory))
        yield


def _start_block(settings: Settings, documents: Config, url: str) -> Any:
    workers = f"   {settings.workers} workers" if settings.workers > 1 else ""
    rows = [
        ("gateway", f"{url}{workers}   version {__version__}"),
        ("upstream", settings.upstream_url or documents.upstream_url),
        ("store", shown(settings.store_url.get_secret_value())),
        *_migration_rows(documents),
        ("admin", _admin_access(settings)),
    ]
    return view.facts(rows)


def _migration_rows(documents: Config) -> list[tuple[str, str]]:
    if not documents.migrations:
        return [("migrations", "none configured: every request passes through")]
    labels = ["migrations", *[""] * (len(documents.migrations) - 1)]
    return [
        (label, f"{spec.name}: {spec.control} → {spec.candidate}")
        for label, spec in zip(labels, documents.migrations, strict=True)
    ]


def _admin_access(settings: Settings) -> str:
    if settings.admin_tokens:
        names = ", ".join(f"{token.name} ({token.role})" for token in settings.admin_tokens)
        return f"tokens of {names}"
    return f"from this machine only, with the token in {settings.data_dir / 'admin-token'}"
