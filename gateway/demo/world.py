"""A simulated Messages API and a gateway in front of it, and the directory that they live in.

Both are started with the public command, in processes of their own, on ports that the system chooses; what
they write goes to files that are shown only when one of them does not come up. Whatever of `GATEWAY_*` the
user has set stays outside, and leaving the world, however that happens, ends both and removes the directory.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx2

from gateway.core.spec import MigrationSpec
from gateway.core.types import parse_json, to_json
from gateway.demo.document import document_of
from gateway.errors import GatewayError
from gateway.tasks import Clock

START_S = 30.0
"""How long a server may take to come up."""
STOP_S = 5.0

WHO = "demo"
"""The name under which the demo's own writes stand in the audit log."""
SECOND = "second"
"""Who approves what `WHO` has started."""

_ADDRESS = re.compile(rb"http://127\.0\.0\.1:\d+")


class World:
    """The simulated Messages API and the gateway in front of it, running while the context lasts."""

    def __init__(
        self,
        plans: Sequence[MigrationSpec],
        catalogue: Path,
        clock: Clock,
        *,
        faults: Sequence[str] = (),
        speed: float,
    ) -> None:
        self.url = ""
        """Of the gateway."""
        self._simulator = ""
        self._plans = plans
        self._catalogue = catalogue
        self._clock = clock
        self._faults = faults
        self._speed = speed
        self.token = secrets.token_urlsafe(24)
        """Of an administrator called `WHO`."""
        self._second = secrets.token_urlsafe(24)
        self._folder = Path()
        self._servers: list[asyncio.subprocess.Process] = []
        self._admin = httpx2.AsyncClient(timeout=10, trust_env=False)
        self._models = httpx2.AsyncClient(timeout=10, trust_env=False)

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-demo-"))
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def status(self, migration: str) -> dict[str, Any]:
        """Return where the migration stands."""
        return await self._call("GET", f"/admin/migrations/{migration}")

    async def act(self, migration: str, verb: str, reason: str, *, force: bool = False) -> dict[str, Any]:
        """Carry out one verb, as an operator would; whoever approves is somebody else."""
        body = {"reason": reason, **({"force": True} if force else {})}
        token = self._second if verb == "approve" else self.token
        return await self._call("POST", f"/admin/migrations/{migration}/actions/{verb}", body, token)

    async def complain(self, request_id: str) -> None:
        """Say of an answer what a user says who cannot use it."""
        await self._call("POST", "/gateway/feedback", {"request_id": request_id, "kind": "issue"})

    async def break_with(self, *faults: str) -> None:
        """Let these faults strike from now on, and no others; without any, everything is well."""
        try:
            answer = await self._models.put(
                f"{self._simulator}/simulator/faults",
                content=to_json({"faults": faults}),
                headers={"content-type": "application/json"},
            )
            answer.raise_for_status()
        except httpx2.HTTPError as error:
            raise GatewayError(f"the simulator did not take {', '.join(faults) or 'no faults'}") from error

    async def events(self, migration: str) -> list[dict[str, Any]]:
        """Return the audit log."""
        events: list[dict[str, Any]] = (await self._call("GET", f"/admin/migrations/{migration}/events"))[
            "data"
        ]
        return events

    async def _start(self) -> None:
        # JSON is YAML too.
        migrations = self._folder / "migrations"
        migrations.mkdir()
        for plan in self._plans:
            (migrations / f"{plan.name}.yaml").write_bytes(to_json(document_of(plan)))
        config = self._folder / "gateway.yaml"
        config.write_bytes(
            to_json({"catalogue": str(self._catalogue.resolve()), "include": ["migrations/*.yaml"]})
        )
        faults = [part for fault in self._faults for part in ("--fault", fault)]
        simulator = self._simulator = await self._serve(
            "simulator",
            "simulate",
            "--port",
            "0",
            "--speed",
            str(self._speed),
            *faults,
            config=config,
            upstream="",
        )
        self.url = await self._serve("gateway", "serve", "--port", "0", config=config, upstream=simulator)
        await self._until_ready(f"{simulator}/v1/models", "simulator")
        await self._until_ready(f"{self.url}/readyz", "gateway")

    async def _serve(self, name: str, *command: str, config: Path, upstream: str) -> str:
        """Start one server and return the address that it names."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
        environment |= {
            "GATEWAY_CONFIG": str(config),
            "GATEWAY_UPSTREAM_URL": upstream,
            "GATEWAY_DATA_DIR": str(self._folder / "data"),
            "GATEWAY_STORE_URL": f"sqlite:///{self._folder / 'gateway.db'}",
            "GATEWAY_ADMIN_TOKENS": f"{WHO}:admin:{self.token},{SECOND}:operator:{self._second}",
            "GATEWAY_LOG_LEVEL": "warning",
        }
        with self._log(name).open("wb") as log:
            # A group of its own: Ctrl-C is for the demo, which ends its servers in order.
            server = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.cli.main", *command,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
                cwd=self._folder, env={key: value for key, value in environment.items() if value},
                process_group=0,
            )  # fmt: skip
        self._servers.append(server)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                while server.stdout and (line := await server.stdout.readline()):
                    if address := _ADDRESS.search(line):
                        return address[0].decode()
        raise self._did_not_start(name)

    async def _until_ready(self, url: str, name: str) -> None:
        give_up_at = self._clock.monotonic() + START_S
        async with httpx2.AsyncClient(timeout=5, trust_env=False, headers={"x-api-key": WHO}) as client:
            while self._clock.monotonic() < give_up_at and all(s.returncode is None for s in self._servers):
                try:
                    answer = await client.get(url, headers={"anthropic-version": "2023-06-01"})
                    if answer.status_code == 200:
                        return
                except httpx2.TransportError:
                    pass
                await asyncio.sleep(0.05)
        raise self._did_not_start(name)

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = ""
    ) -> dict[str, Any]:
        content = None if body is None else to_json(body)
        headers = {"content-type": "application/json", "authorization": f"Bearer {token or self.token}"}
        try:
            answer = await self._admin.request(method, f"{self.url}{path}", content=content, headers=headers)
            document = parse_json(answer.content)
        except (httpx2.HTTPError, ValueError) as error:
            raise GatewayError(
                f"the gateway that was started did not answer {method} {path}: {type(error).__name__}"
            ) from error
        if not answer.is_success:
            raise GatewayError(
                f"the gateway that was started refused {method} {path}: {document['error']['message']}"
            )
        return dict(document)

    async def _end(self) -> None:
        """End the servers, ask again less kindly after a while, and remove the directory."""
        await self._admin.aclose()
        await self._models.aclose()
        running = [server for server in self._servers if server.returncode is None]
        for server in running:
            _signal(server.terminate)
        try:
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*(server.wait() for server in running))
        except TimeoutError:
            for server in running:
                _signal(server.kill)
            await asyncio.gather(*(server.wait() for server in running))
        finally:
            for server in running:
                _signal(server.kill)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _did_not_start(self, name: str) -> GatewayError:
        said = self._log(name).read_text("utf-8", "replace").strip().splitlines()[-5:]
        return GatewayError("\n".join([f"the {name} did not come up; the last it said:", *said]))


def _signal(send: Callable[[], None]) -> None:
    with contextlib.suppress(ProcessLookupError):
        send()
