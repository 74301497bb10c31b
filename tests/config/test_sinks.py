"""Who can be told stands in the file; what is secret about it comes from the environment alone."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.documents import GatewayDocument
from gateway.config.shapes import validated
from gateway.config.sinks import NamedSink, reachable, resolve, to_sinks
from gateway.control.notify.sinks import CHANGES, Sink
from gateway.errors import ConfigError

SLACK = {"kind": "slack", "url_env": "SLACK_URL"}
OPS = {"kind": "webhook", "url": "https://ops.example.com/gateway", "secret_env": "OPS_SECRET"}


def sinks_of(**content: dict[str, Any]) -> tuple[NamedSink, ...]:
    return to_sinks(validated(GatewayDocument, {"notify": content}, Path("g.yaml")).notify)


def test_a_place_is_named_with_what_it_wants_to_hear() -> None:
    assert sinks_of(slack=SLACK, ops={**OPS, "events": ["rolled_back", "approval"]}) == (
        NamedSink("slack", "slack", url_env="SLACK_URL"),
        NamedSink("ops", "webhook", OPS["url"], "", "OPS_SECRET", ("rolled_back", "approval")),
    )


@pytest.mark.parametrize(
    ("sink", "problem"),
    [
        ({"kind": "webhook"}, "notify.x: needs url or url_env"),
        ({**OPS, "url_env": "A"}, "notify.x: needs url or url_env, not both"),
        ({**SLACK, "secret_env": "A"}, "notify.x: secret_env is for kind webhook"),
        ({**OPS, "url": "https://me:hunter2@ops.example.com"}, "notify.x.url: may hold no user, password"),
        ({**OPS, "url": "https://ops.example.com?token=hunter2"}, "notify.x.url: may hold no user, password"),
        (
            {**OPS, "url": "https://hooks.slack.com/services/T/B/hunter2"},
            "notify.x.url: its path is a secret",
        ),
        ({**OPS, "url": "ftp://ops.example.com"}, "notify.x.url: should be http"),
        ({**SLACK, "url_env": "https://hooks.example.com/hunter2"}, "notify.x.url_env: "),
        ({**OPS, "secret": "hunter2"}, "notify.x.secret: unknown key; did you mean 'secret_env'?"),
        ({**OPS, "events": ["rollback"]}, "notify.x.events[0]: "),
        ({**OPS, "events": []}, "notify.x.events: needs at least one entry"),
        ({**OPS, "kind": "mail"}, "notify.x.kind: "),
    ],
)
def test_what_cannot_be_or_would_be_secret_is_refused_unrepeated(sink: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sinks_of(x=sink)
    assert caught.value.message.startswith(f"g.yaml: {problem}")
    assert "hunter2" not in caught.value.message


def test_the_environment_gives_what_is_secret() -> None:
    sinks, problems = resolve(
        sinks_of(slack=SLACK, ops=OPS), {"SLACK_URL": "https://hooks.example.com/T", "OPS_SECRET": "s"}
    )
    assert problems == []
    assert sinks == (
        Sink("slack", "slack", "https://hooks.example.com/T"),
        Sink("ops", "webhook", "https://ops.example.com/gateway", "s"),
    )
    assert sinks[0].events == CHANGES


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({}, "notify.slack: SLACK_URL is not set, so nobody is told there"),
        ({"SLACK_URL": ""}, "notify.slack: SLACK_URL is not set, so nobody is told there"),
        ({"SLACK_URL": "hunter2"}, "notify.slack: SLACK_URL holds no http:// or https:// address"),
        ({"SLACK_URL": "http://[hunter2"}, "notify.slack: SLACK_URL holds no http:// or https:// address"),
        (
            {"SLACK_URL": "http://a:99999/hunter2"},
            "notify.slack: SLACK_URL holds no http:// or https:// address",
        ),
    ],
)
def test_a_place_whose_variable_is_missing_or_wrong_is_left_out_and_said_to_be(
    environ: dict[str, str], problem: str
) -> None:
    assert resolve(sinks_of(slack=SLACK), environ) == ((), [problem])


def test_who_cannot_be_told_is_logged_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    told = reachable(sinks_of(slack=SLACK, ops=OPS), {"OPS_SECRET": "s"})
    assert list(told) == ["ops"]
    (line,) = caplog.records
    assert "SLACK_URL" in vars(line)["problem"]


def test_a_webhook_that_should_be_signed_is_not_told_unsigned() -> None:
    assert resolve(sinks_of(ops=OPS), {}) == (
        (),
        ["notify.ops: OPS_SECRET is not set, so nobody is told there"],
    )
