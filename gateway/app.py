"""The composition root: one serving process, built from its settings and configuration, and its life.

`create_app` is what uvicorn calls in every worker. A request goes one of four ways: `/v1/` to the data path,
the pages `/healthz`, `/readyz` and `/metrics`, `/gateway/feedback` to its own door, everything else to
FastAPI. Nothing here decides anything; it hands the planes to each other as plain values and callables.

Order at start: settings and configuration (a mistake stops the start with a sentence), store (one that is
away does not), snapshot (store, else disk, else control for everybody), then the loops. At the end the
ledger's last writes go out and the process takes leave of the fleet.
"""

import asyncio
import logging
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from gateway.config import Config, files, load
from gateway.config.sinks import reachable
from gateway.control.api import build_admin
from gateway.control.auth import Gatekeeper, Role, Token, local_token
from gateway.control.autopilot.build import Autopilot, Parts
from gateway.control.autopilot.gather import Gatherer
from gateway.control.feedback import PATH as FEEDBACK
from gateway.control.papers.desk import Desk
from gateway.control.reader import Reader
from gateway.control.service import ControlService
from gateway.control.vendor import list_models
from gateway.core.counts import Counts
from gateway.core.spec import MigrationSpec
from gateway.core.types import Arm
from gateway.drain import Drain
from gateway.errors import ConfigError
from gateway.logs import configure
from gateway.metrics import Metrics
from gateway.proxy.call import Limits, Plane
from gateway.proxy.routes import DataPath
from gateway.proxy.table import Table, build
from gateway.proxy.transport.wire import Origin, Wire
from gateway.settings import Settings
from gateway.signals import Signals
from gateway.store.backends.factory import make_store
from gateway.store.ledger import Ledger
from gateway.store.notebook import Notebook
from gateway.store.replica import Replica
from gateway.store.snapshot import Snapshot
from gateway.tasks import Clock, SystemClock, Tasks, run_every

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Page = tuple[int, str, bytes]

logger = logging.getLogger(__name__)

BOOT_S = 2.0
"""How long a start waits for the store before it goes on with what the disk has."""
TICK_S = 1.0
RELOAD_S = 2.0


def create_app() -> "Gateway":
    """Return the application of one worker, built from the environment; raises ConfigError."""
    settings = Settings.load()
    configure(settings.log_level, settings.log_format)
    return Gateway(settings, load(settings.config))


class Gateway:
    """One serving process as an ASGI application."""

    def __init__(self, settings: Settings, config: Config, *, clock: Clock | None = None) -> None:
        """Build everything and connect nothing; raises ConfigError."""
        self._clock = clock or SystemClock()
        self._settings = settings
        self._config = config
        self._stamps = _stamps(settings.config)
        self._drain = Drain(settings.drain_grace_s)
        self._sinks = reachable(config.sinks, os.environ)
        self._table_of: date | None = None
        self._upstream_url = settings.upstream_url or config.upstream_url
        self._tasks = Tasks()
        self._metrics = Metrics(spec.name for spec in config.migrations)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self._store = make_store(settings.store_url.get_secret_value(), clock=self._clock)
        self._replica = self._make_replica(f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}")
        self._ledger = Ledger(
            self._store,
            secret=secrets.token_bytes(32),  # until the fleet's is known, in `start`
            clock=self._clock,
            pin_ttl_s=config.pin_ttl_s,
            on_error=self._metrics.store_error,
        )
        self._notebook = Notebook(
            self._store, secret=secrets.token_bytes(32), on_error=self._metrics.store_error
        )
        gatekeeper = _gatekeeper(settings)
        self._plane = self._make_plane(gatekeeper)
        self._gatherer = Gatherer(self._store, clock=self._clock)
        self._desk = self._make_desk()
        self._service = self._make_service()
        self._autopilot = self._make_autopilot()
        self._data_path = DataPath(self._plane)
        self._signals = Signals(
            self._plane,
            reader=self._service.read,
            obeyed=lambda: self._replica.snapshot,
            operator_named=gatekeeper.operator_named,
        )
        self._admin = build_admin(self._service, gatekeeper, self._desk)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the process's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        if self._drain.begun:
            send = self._drain.last(send)
        if scope["path"].startswith("/v1/"):
            await self._data_path(scope, receive, send)
        elif scope["path"] in _PAGES:
            await _say(send, _PAGES[scope["path"]](self))
        elif scope["path"] == FEEDBACK:
            await self._signals.feedback(scope, receive, send)
        else:
            await self._admin(scope, receive, send)

    # --- life

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception:
            logger.exception("the gateway could not start")
            await send({"type": "lifespan.startup.failed", "message": "the gateway could not start"})
            return
        self._drain.heed()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Find out what to obey and begin to serve."""
        await self._store.open()
        origin = await self._replica.boot(BOOT_S)
        self._renew(self._replica.secret)
        self._replica.start()
        self._ledger.start()
        self._notebook.start()
        self._autopilot.start()
        self._tasks.spawn("gauges", run_every(TICK_S, self._gauge), endless=True)
        self._tasks.spawn("reload", run_every(RELOAD_S, self.reload), endless=True)
        logger.info("serving", extra={"replica": self._replica.id, "snapshot_from": origin})

    async def stop(self) -> None:
        """End in good order."""
        self._drain.begun = True
        await self._tasks.drain(TICK_S)
        await self._autopilot.step_down()
        await self._plane.tasks.drain(TICK_S)
        await self._autopilot.close()
        await self._ledger.aclose()
        await self._notebook.aclose()
        await self._replica.aclose()
        self._plane.wire.close()
        await self._store.close()

    # --- making the parts

    def _make_replica(self, replica_id: str) -> Replica:
        return Replica(
            self._store,
            id=replica_id,
            data_dir=self._settings.data_dir,
            clock=self._clock,
            on_change=self._obey,
            in_flight=lambda: self._plane.in_flight,
            candidate_sent_at=lambda: self._plane.candidate_sent_at,
            leader=lambda: self._autopilot.leader,
            on_loss=self._renew,
            on_error=self._metrics.store_error,
            jitter=_jitter,
        )

    def _make_plane(self, gatekeeper: Gatekeeper) -> Plane:
        settings, config = self._settings, self._config
        key = settings.upstream_api_key
        return Plane(
            wire=Wire(
                Origin.parse(self._upstream_url),
                connect_timeout_s=config.connect_timeout_s,
                first_byte_timeout_s=config.first_byte_timeout_s,
            ),
            table=Table({}, {}),
            ledger=self._ledger,
            notebook=self._notebook,
            metrics=self._metrics,
            clock=self._clock,
            limits=Limits(
                body_bytes=config.max_body_bytes,
                batch_bytes=config.max_batch_bytes,
                ping_after_s=config.ping_after_s,
            ),
            pin_ttl_s=config.pin_ttl_s,
            upstream_api_key=key.get_secret_value() if key is not None else None,
            public_url=settings.public_url or "",
            client_keys={each.key.get_secret_value(): each.name for each in settings.client_keys},
            is_operator=lambda token: gatekeeper.operator_named(token) is not None,
        )

    def _make_service(self) -> ControlService:
        reader = Reader(
            self._store,
            self._replica,
            replica_id=self._replica.id,
            specs=self._specs,
            catalogue=lambda: self._config.catalogue,
            prompts=lambda: self._config.prompts,
            unit_key=self._ledger.key,
            pictures=self._gatherer,
            clock=self._clock,
        )
        return ControlService(
            reader,
            self._store,
            self._replica,
            replica_id=self._replica.id,
            clock=self._clock,
            open_items=self._desk.open_items,
        )

    def _make_desk(self) -> Desk:
        return Desk(
            self._store,
            specs=self._specs,
            catalogue=lambda: self._config.catalogue,
            sinks=lambda: self._sinks,
            clock=self._clock,
        )

    def _make_autopilot(self) -> Autopilot:
        # Without a key of the gateway's own nobody is asked: callers' keys are for callers' requests.
        key = self._settings.upstream_api_key
        parts = Parts(
            store=self._store,
            replica=self._replica,
            replica_id=self._replica.id,
            orders=self._service,
            desk=self._desk,
            gatherer=self._gatherer,
            counts=self._plane.counts,
            specs=self._specs,
            catalogue=lambda: self._config.catalogue,
            sinks=lambda: self._sinks,
            models=partial(list_models, self._upstream_url, key.get_secret_value()) if key else None,
            show_models=self._metrics.catalogue,
            url=self._settings.own_url,
            jitter=_jitter,
            clock=self._clock,
            on_result=self._metrics.notification,
            on_error=self._metrics.store_error,
        )
        return Autopilot(parts, self._tasks)

    # --- what is obeyed

    def _specs(self) -> Mapping[str, MigrationSpec]:
        return {spec.name: spec for spec in self._config.migrations}

    def _obey(self, snapshot: Snapshot) -> None:
        """Swap the routing table; from here on no request meets what was before."""
        before, today = self._plane.table, self._today()
        config = self._config
        table = build(config.migrations, snapshot.states, config.catalogue, today, config.prompts)
        for name, governed in table.by_name.items():
            self._plane.counts.setdefault(name, Counts())
            known = before.by_name.get(name)
            if known is not None and known.state.evicted_run < governed.state.evicted_run:
                self._ledger.forget(name)
        self._plane.table, self._table_of = table, today
        self._metrics.configured(table.by_name)
        for governed in table.by_name.values():
            self._metrics.rollout(governed.state)
            self._metrics.retirement(
                governed.name, {arm: governed.model(arm).lifecycle.retires_on for arm in Arm}
            )

    def _renew(self, secret: bytes) -> None:
        self._ledger.renew(secret)
        self._notebook.renew(secret)
        self._plane.receipts.renew(secret)

    async def _gauge(self) -> None:
        """Show what changes without a request."""
        self._metrics.snapshot(self._replica.snapshot.version, self._replica.snapshot_age_s)
        self._metrics.backlog(self._ledger.queued)
        self._metrics.leader(self._autopilot.leader)
        self._metrics.gates(self._autopilot.judgements)
        self._metrics.watched(self._autopilot.watched_s)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.now(), UTC).date()

    async def reload(self) -> None:
        """Take over a changed configuration if it validates as a whole; else the last good one stays."""
        if self._table_of != self._today():  # a model may have retired overnight
            self._obey(self._replica.snapshot)
        fingerprint = await asyncio.to_thread(_stamps, self._settings.config)
        if fingerprint == self._stamps:
            return
        try:
            config = await asyncio.to_thread(load, self._settings.config)
        except ConfigError as error:
            logger.error(
                "the changed configuration is not valid; the last good one stays",
                extra={"problem": error.message},
            )
        else:
            gone = {each.label for each in self._config.prompts} - {each.label for each in config.prompts}
            self._config, self._sinks = config, reachable(config.sinks, os.environ)
            self._obey(self._replica.snapshot)
            logger.info("configuration reloaded")
            if gone:
                sentence = "conversations that began with these prompt variants go on without them"
                logger.warning(sentence, extra={"variants": sorted(gone)})
        self._stamps = fingerprint

    @property
    def table(self) -> Table:
        """What requests are routed by."""
        return self._plane.table

    # --- the pages

    @property
    def ready(self) -> bool:
        """A snapshot is obeyed, and the process is not about to end."""
        return self._replica.ready and not self._drain.begun

    def healthz(self) -> Page:
        """Alive."""
        return 200, "text/plain", b"ok\n"

    def readyz(self) -> Page:
        """Whether to send requests here."""
        return (200, "text/plain", b"ready\n") if self.ready else (503, "text/plain", b"not ready\n")

    def metrics(self) -> Page:
        """Prometheus' page, for all workers of this `serve`."""
        body, kind = self._metrics.render()
        return 200, kind, body


_PAGES: Mapping[str, Callable[[Gateway], Page]] = {
    "/healthz": Gateway.healthz,
    "/readyz": Gateway.readyz,
    "/metrics": Gateway.metrics,
}


async def _say(send: Send, page: Page) -> None:
    status, kind, body = page
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _jitter(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads polls, guards nothing


def _gatekeeper(settings: Settings) -> Gatekeeper:
    """Return who may steer: the configured tokens, or this machine's own where there are none."""
    tokens = [
        Token(each.name, Role[each.role], each.token.get_secret_value()) for each in settings.admin_tokens
    ]
    if tokens:
        return Gatekeeper(tokens)
    return Gatekeeper([Token("local", Role.admin, local_token(settings.data_dir))], loopback_only=True)


def _stamps(path: Path) -> tuple[tuple[str, int], ...]:
    """Return what changes when a file of the configuration does."""
    return tuple((str(file), file.stat().st_mtime_ns if file.exists() else 0) for file in files(path))
