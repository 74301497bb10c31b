"""The container files agree with the project: every path, port, variable, command and image in them."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis
from redis.exceptions import AuthenticationError

from gateway.settings import Settings
from tests.support.compose import (
    Compose,
    Dockerfile,
    Ignored,
    MissingVariable,
    variables,
)
from tests.support.deploy import REPOSITORY
from tests.support.stack import SECRETS, Stack, stack

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]

TEXT = (REPOSITORY / "docker-compose.yml").read_text("utf-8")
IMAGE = Dockerfile.read(REPOSITORY / "Dockerfile")
COMPOSE = Compose.read(REPOSITORY, SECRETS)
BALANCER = (REPOSITORY / "deploy/loadbalancer/haproxy.cfg").read_text("utf-8")
GUIDE = (REPOSITORY / "docs/deploy.md").read_text("utf-8")
IGNORED = Ignored.read(REPOSITORY / ".dockerignore")

SERVICES = sorted(COMPOSE.services)
OURS = [name for name in SERVICES if COMPOSE.ours(name)]
GATEWAYS = ["gateway-1", "gateway-2"]
PUBLISHED = {"loadbalancer": "8080", "grafana": "3000"}
LISTENS = {"redis": 6379, "prometheus": 9090, "grafana": 3000, "simulator": 8090, "loadbalancer": 8080}
LISTENS |= dict.fromkeys(GATEWAYS, 8080)
COMPOSE_ONLY = {"GATEWAY_TAG"}
"""Begins like a setting and is none."""


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def seconds(duration: str) -> float:
    units = {"h": 3600, "m": 60, "s": 1, "": 0.001}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([hms]?)", duration))


def setting(text: str, name: str) -> str:
    """What one line of the load balancer's file says."""
    (value,) = re.findall(rf"^ *{name} (.+)$", text, re.MULTILINE)
    return str(value)


# --- the image ----------------------------------------------------------------------------------------------


def test_every_stage_begins_with_the_same_pinned_python_that_the_project_runs_on() -> None:
    bases = {each.value.split()[0] for each in IMAGE.all("FROM")}
    (version,) = {re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-bookworm", base) for base in bases}
    assert version is not None
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert f">={version[1]}" == project["requires-python"]


def test_the_lock_file_is_used_with_the_version_of_uv_that_wrote_it() -> None:
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    built = " ".join(each.value for each in IMAGE.all("RUN", stage=0))
    assert f"uv=={version}" in built
    assert built.count("uv sync --frozen --no-dev") == 2


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    sources = [source for each in IMAGE.all("COPY", stage=0) for source in each.words[:-1]]
    assert {"gateway", "config", "uv.lock", "pyproject.toml", "LICENSE"} == set(sources)
    files = [file for file in tracked() if file.split("/")[0] in sources]
    assert [file for file in files if IGNORED.covers(file)] == []


def test_nothing_else_reaches_the_builder() -> None:
    kept = {file.split("/")[0] for file in tracked() if not IGNORED.covers(file)}
    assert kept == {"gateway", "config", "uv.lock", "pyproject.toml", "LICENSE"}
    private = [".env", "data/gateway.db", ".git/config", ".venv/bin/python", "gateway/__pycache__/app.pyc"]
    assert [file for file in private if not IGNORED.covers(file)] == []


def test_the_image_runs_as_a_user_without_rights_and_signals_reach_the_program() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", IMAGE.the("USER").value)
    assert (IMAGE.the("ENTRYPOINT").value, IMAGE.the("CMD").value) == ('["gateway"]', '["serve"]')
    owner = (
        f"install -d -o {IMAGE.the('USER').value.replace(':', ' -g ')} -m 0700 {IMAGE.the('VOLUME').value}"
    )
    assert owner in [each.value for each in IMAGE.all("RUN", stage=IMAGE.last)]


def test_the_images_environment_is_what_the_gateway_understands() -> None:
    env = IMAGE.environment(IMAGE.last)
    names = {name.removeprefix("GATEWAY_").lower() for name in env if name.startswith("GATEWAY_")}
    assert names <= set(Settings.model_fields)
    found = Settings.load(env)
    assert (found.host, str(found.port)) == ("0.0.0.0", IMAGE.the("EXPOSE").value)
    assert str(found.data_dir) == IMAGE.the("VOLUME").value
    assert found.store_url.get_secret_value().startswith(f"sqlite:///{found.data_dir}/")
    assert IMAGE.the("WORKDIR").value == "/app"
    assert (REPOSITORY / found.config.relative_to("/app")).is_file()


def test_the_built_image_holds_what_the_program_needs_and_no_development_tool(tree: Path) -> None:
    assert {path.name for path in tree.iterdir()} - {".venv"} == {
        "gateway", "config", "uv.lock", "pyproject.toml", "LICENSE"
    }  # fmt: skip
    said = subprocess.run(
        [tree / ".venv/bin/gateway", "check"], cwd=tree, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    programs = {path.name for path in (tree / ".venv/bin").iterdir()}
    assert programs & {"pytest", "mypy", "ruff"} == set()


# --- what compose says --------------------------------------------------------------------------------------


def test_there_is_what_the_guide_promises() -> None:
    assert set(SERVICES) == {
        *GATEWAYS, "loadbalancer", "redis", "prometheus", "grafana", "simulator", "traffic"
    }  # fmt: skip
    demo = {name for name in SERVICES if COMPOSE.services[name].get("profiles") == ["demo"]}
    assert demo == {"simulator", "traffic"}
    assert set(OURS) == {*GATEWAYS, "simulator", "traffic"}


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    image = COMPOSE.services[name]["image"]
    if COMPOSE.ours(name):
        assert (image, COMPOSE.services[name]["build"]) == ("gateway:local", ".")
    else:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+(-alpine)?", image)


def test_the_load_balancer_is_of_the_series_that_is_tested() -> None:
    image = COMPOSE.services["loadbalancer"]["image"]
    assert f"HAProxy {image.split(':')[1].rsplit('.', 1)[0]} or newer" in BALANCER


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_limited_restarted_and_can_write_nowhere_but_its_volumes(name: str) -> None:
    service = COMPOSE.services[name]
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) <= 2
    assert re.fullmatch(r"\d+[mg]", limits["memory"])
    assert (service["restart"], service["read_only"], service["cap_drop"]) == (
        "unless-stopped",
        True,
        ["ALL"],
    )
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_says_whether_it_is_well(name: str) -> None:
    check = COMPOSE.services[name].get("healthcheck")
    if check is None:
        assert name in GATEWAYS
        assert "/healthz" in IMAGE.healthcheck[-1]
    elif name == "traffic":
        assert check == {"disable": True}
    else:
        assert check["test"][0] == "CMD"
        address = re.findall(r"http://127\.0\.0\.1:(\d+)/", " ".join(check["test"]))
        assert address == ([] if name == "redis" else [str(LISTENS[name])])


def test_only_the_load_balancer_and_grafana_are_published_and_only_on_this_machine() -> None:
    ports = {name: service["ports"] for name, service in COMPOSE.services.items() if "ports" in service}
    assert ports == {name: [f"127.0.0.1:{port}:{port}"] for name, port in PUBLISHED.items()}


def test_every_mount_and_volume_exists() -> None:
    named = set(COMPOSE.document["volumes"])
    used: set[str] = set()
    for name in SERVICES:
        for target, source in COMPOSE.mounts(name).items():
            if source.startswith("./"):
                assert (REPOSITORY / source).is_dir(), f"{name}: {source}"
                assert f"{source}:{target}:ro" in COMPOSE.services[name]["volumes"]
            else:
                used.add(source)
    assert used == named
    assert [COMPOSE.mounts(name)["/data"] for name in [*GATEWAYS, "redis"]] == [*GATEWAYS, "redis"]


def inside(name: str, path: str) -> Path:
    """The file of this repository that a container sees at `path`."""
    for target, source in COMPOSE.mounts(name).items():
        if path == target or path.startswith(f"{target}/"):
            return REPOSITORY / source / path.removeprefix(target).lstrip("/")
    raise AssertionError(f"{name} has nothing at {path}")


def test_files_that_commands_name_are_where_the_containers_see_them() -> None:
    assert inside("loadbalancer", COMPOSE.command("loadbalancer")[-1]).is_file()
    (config,) = [word.split("=")[1] for word in COMPOSE.command("prometheus") if "config.file" in word]
    document = yaml.safe_load(inside("prometheus", config).read_text("utf-8"))
    for pattern in document["rule_files"]:
        assert list((REPOSITORY / "deploy/prometheus").glob(pattern)), pattern
    (kept,) = [word.split("=")[1] for word in COMPOSE.command("prometheus") if "tsdb.path" in word]
    assert COMPOSE.mounts("prometheus")[kept] == "prometheus"
    for name in GATEWAYS:
        assert inside(name, COMPOSE.environment(name)["GATEWAY_CONFIG"]).is_file()


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    provisioning = inside("grafana", "/etc/grafana/provisioning")
    providers = [yaml.safe_load(file.read_text()) for file in (provisioning / "dashboards").glob("*.y*ml")]
    paths = [provider["options"]["path"] for document in providers for provider in document["providers"]]
    assert paths
    for path in paths:
        assert list(inside("grafana", path).glob("*.json")), path
    sources = [yaml.safe_load(file.read_text()) for file in (provisioning / "datasources").glob("*.y*ml")]
    urls = [source["url"] for document in sources for source in document["datasources"]]
    assert urls == ["http://prometheus:9090"]


def addresses() -> Iterator[tuple[str, str, int]]:
    """Who names whom, at which port."""
    for name in SERVICES:
        text = yaml.safe_dump(COMPOSE.services[name])
        for host, port in re.findall(r"(?:@|//)([a-z][\w-]*):(\d+)", text):
            yield name, host, int(port)
    for host, port in re.findall(r"^ *server \S+ ([\w-]+):(\d+)$", BALANCER, re.MULTILINE):
        yield "loadbalancer", host, int(port)
    targets = (REPOSITORY / "deploy/prometheus/targets/gateways.yml").read_text("utf-8")
    for host, port in re.findall(r"- ([\w-]+):(\d+)$", targets, re.MULTILINE):
        yield "prometheus", host, int(port)


def test_whoever_names_another_reaches_it() -> None:
    found = list(addresses())
    assert {(who, host) for who, host, _ in found} >= {
        *(("loadbalancer", name) for name in GATEWAYS),
        *(("prometheus", name) for name in GATEWAYS),
        *((name, "redis") for name in GATEWAYS),
        ("traffic", "loadbalancer"),
    }
    for who, host, port in found:
        assert LISTENS[host] == port, f"{who} → {host}:{port}"
        together = set(COMPOSE.services[who]["networks"]) & set(COMPOSE.services[host]["networks"])
        assert together, f"{who} shares no network with {host}"


def test_every_network_is_declared_and_what_needs_no_way_out_has_none() -> None:
    networks = COMPOSE.document["networks"]
    assert {network for service in COMPOSE.services.values() for network in service["networks"]} == set(
        networks
    )
    locked = {name for name in SERVICES if COMPOSE.services[name]["networks"] == ["back"]}
    assert networks["back"] == {"internal": True}
    assert locked == {"redis", "prometheus"}


def test_what_waits_for_health_waits_for_something_that_has_it() -> None:
    for name in SERVICES:
        waits = COMPOSE.services[name].get("depends_on", {})
        for other in waits:
            condition = waits[other]["condition"] if isinstance(waits, dict) else "service_started"
            assert other in SERVICES
            assert condition == "service_started" or COMPOSE.services[other].get("healthcheck") != {
                "disable": True
            }
        assert name not in GATEWAYS or waits == ["redis"]  # a gateway serves while Redis is away


# --- variables and secrets ----------------------------------------------------------------------------------


def test_without_its_secrets_nothing_starts_and_each_is_asked_for() -> None:
    required = {each.name for each in variables(TEXT) if each.kind == "?"}
    assert required == set(SECRETS)
    for name in required:
        with pytest.raises(MissingVariable, match=rf"{name}: put .* into \.env"):
            Compose.read(REPOSITORY, {**SECRETS, name: ""})


def test_no_secret_has_a_default() -> None:
    for each in variables(TEXT):
        if re.search("PASSWORD|TOKEN|KEY|SECRET", each.name):
            assert (each.kind, each.words == "") in (("?", False), ("-", True)), each


def test_every_variable_is_a_setting_of_the_gateway_or_explained_in_the_guide() -> None:
    for name in {each.name for each in variables(TEXT)} - COMPOSE_ONLY:
        assert (
            not name.startswith("GATEWAY_") or name.removeprefix("GATEWAY_").lower() in Settings.model_fields
        )
    assert [each.name for each in variables(TEXT) if f"`{each.name}`" not in GUIDE] == []


def test_the_environment_of_a_gateway_is_accepted() -> None:
    for name in GATEWAYS:
        found = Settings.load({key: value for key, value in COMPOSE.environment(name).items() if value})
        assert found.store_url.get_secret_value() == f"redis://:{SECRETS['REDIS_PASSWORD']}@redis:6379/0"
        assert [token.name for token in found.admin_tokens] == ["ops"]
        assert found.upstream_url is None


def test_the_guides_way_to_make_secrets_makes_all_of_them(tmp_path: Path) -> None:
    (script,) = re.findall(r"```sh\n(umask .*?)```", GUIDE, re.DOTALL)
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True)
    file = tmp_path / ".env"
    env = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert set(env) == set(SECRETS)
    assert all(len(value) >= 24 for value in env.values())
    assert file.stat().st_mode & 0o077 == 0
    assert Settings.load(Compose.read(REPOSITORY, env).environment("gateway-1")).admin_tokens


# --- durations ----------------------------------------------------------------------------------------------


def test_docker_waits_for_as_long_as_a_gateway_drains() -> None:
    for name in GATEWAYS:
        found = Settings.load(COMPOSE.environment(name))
        assert found.drain_grace_s == 10
        drains_s = found.drain_grace_s + found.drain_timeout_s
        assert seconds(COMPOSE.services[name]["stop_grace_period"]) >= drains_s + 30
        assert seconds(setting(BALANCER, "hard-stop-after")) >= found.drain_timeout_s
    balancer = COMPOSE.services["loadbalancer"]
    assert balancer["stop_signal"] == "SIGUSR1"
    assert seconds(balancer["stop_grace_period"]) >= seconds(setting(BALANCER, "hard-stop-after"))


def test_the_load_balancer_notices_well_within_the_grace() -> None:
    check = setting(BALANCER, "default-server")
    found = dict(re.findall(r"(inter|fall) (\w+)", check))
    notices_s = seconds(found["inter"]) * int(found["fall"])
    assert notices_s * 2 <= Settings.load(COMPOSE.environment("gateway-1")).drain_grace_s


def test_silence_is_allowed_for_longer_than_the_gateway_waits_for_a_first_byte() -> None:
    upstream: dict[str, Any] = yaml.safe_load((REPOSITORY / "config/gateway.yaml").read_text())["upstream"]
    for name in ("timeout client", "timeout server"):
        assert seconds(setting(BALANCER, name)) >= seconds(upstream["first_byte_timeout"]) + 60


# --- what the containers run --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything of profile demo that is ours, as its containers run it."""
    services = ("redis", "simulator", *GATEWAYS, "loadbalancer", "traffic")
    before = contents(tree)
    directory = tmp_path_factory.mktemp("demo")
    with stack(tree, directory, *services, GATEWAY_UPSTREAM_URL="http://simulator:8090") as running:
        yield running
    assert contents(tree) == before, "something was written outside of the volumes"
    assert {path.name for name in OURS for path in (directory / name).iterdir()} == {"data"}


def contents(tree: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()}


def test_demo_traffic_goes_through_the_load_balancer_to_both_gateways(demo: Stack) -> None:
    for name in GATEWAYS:
        demo.until_counted(name, "gateway_requests_total{", at_least=10)
        assert demo.healthy(name)
    assert demo.answers("loadbalancer:8080", "/healthz") is not None


def test_redis_keeps_everything_in_an_append_only_file_and_wants_its_password(demo: Stack) -> None:
    log = demo.directory / "redis" / "data"
    assert list(log.rglob("appendonly*"))
    port = demo.ports["redis:6379"]
    with Redis(port=port, password=demo.compose.environment("redis")["REDISCLI_AUTH"]) as known:
        assert known.ping()
    with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()


def test_a_person_steers_the_fleet_from_inside_a_gateways_container(demo: Stack) -> None:
    said = demo.run_in("gateway-1", "gateway", "migration", "start", "--force", "--reason", "a look")
    assert said.returncode == 0, said.stderr
    status = demo.run_in("gateway-2", "gateway", "migration", "status")
    assert "2 of 2 replicas agree" in status.stdout, status.stderr


def test_traffic_ends_when_it_is_told_to(demo: Stack) -> None:
    assert demo.stop("traffic") == 0
    assert re.search(
        r"^[\d,]+ requests, [\d,]+ of them to the candidate, 0 failed$", demo.log("traffic"), re.M
    )
