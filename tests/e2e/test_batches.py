"""Message batches through a real gateway, with the official SDK: both arms in one, results as expected."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from anthropic import Anthropic, AsyncAnthropic, BadRequestError
from anthropic.types import Message, MessageParam
from anthropic.types.messages.batch_create_params import Request

from gateway.core.assign import bucket_of
from tests.support.deploy import Deployed, Simulated, deployed, migration, write_config
from tests.support.samples import labelled
from tests.support.talks import KEY

ALIAS, CONTROL, CANDIDATE = "claude-opus-4-5", "claude-opus-4-5-20251101", "claude-opus-5-5"
FOREIGN = "claude-haiku-4-5-20251001"
RIVERS: list[MessageParam] = [{"role": "user", "content": "Say something about rivers."}]
BEGUN: list[MessageParam] = [
    {"role": "user", "content": "Extract as JSON: Ada paid 12."},
    {"role": "assistant", "content": "{"},
]
SCHEMA = {
    "type": "object",
    "properties": {"place": {"type": "string"}},
    "required": ["place"],
    "additionalProperties": False,
}
FORCED: dict[str, Any] = {
    "tools": [{"name": "weather", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "weather"},
}


@pytest.fixture(scope="module")
def gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("batches")
    document = migration("m", CONTROL, CANDIDATE, match={"models": [ALIAS, CONTROL]})
    with deployed(write_config(directory, _upstream.url, document), directory) as running:
        running.act("m", "start", reason="test")
        running.set_weight("m", 50)
        yield running


def unit_of(arm: str) -> str:
    """Return an end user of this arm at 50 %."""
    below = arm == "candidate"
    return next(name for n in range(999) if (bucket_of("m", 1, name := f"user-{n}") < 50_000) is below)


def item(name: str, arm: str = "", model: str = ALIAS, **params: Any) -> Request:
    fields: dict[str, Any] = {"model": model, "max_tokens": 2000, "messages": RIVERS, **params}
    if arm:
        fields["metadata"] = {"user_id": unit_of(arm)}
    request: Request = {"custom_id": name, "params": cast(Any, fields)}
    return request


def sent_to(upstream: Simulated, since: int) -> dict[str, dict[str, Any]]:
    """Return the params of each item as the upstream got them."""
    entries = [each for each in upstream.requests(since) if each["path"] == "/v1/messages/batches"]
    requests = json.loads(base64.b64decode(entries[-1]["body"]))["requests"]
    return {each["custom_id"]: each["params"] for each in requests}


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def succeeded(client: Anthropic, batch_id: str) -> dict[str, Message]:
    """Return the answers of a batch in which every item has one."""
    assert client.messages.batches.retrieve(batch_id).processing_status == "ended"
    answers = {}
    for line in client.messages.batches.results(batch_id):
        assert line.result.type == "succeeded", line
        answers[line.custom_id] = line.result.message
    return answers


def test_items_of_both_arms_and_of_nobody_go_in_one_batch(client: Anthropic, upstream: Simulated) -> None:
    since = upstream.last_seq()
    requests = [item("a", "candidate"), item("b", "control"), item("c", model=FOREIGN)]
    raw = client.messages.batches.with_raw_response.create(requests=requests)
    assert raw.headers["x-gateway-batch-items"] == "m:candidate=1,m:control=1"
    assert raw.headers["x-gateway-results"] == "kept"
    models = {name: params["model"] for name, params in sent_to(upstream, since).items()}
    assert models == {"a": CANDIDATE, "b": CONTROL, "c": FOREIGN}
    answers = succeeded(client, raw.parse().id)
    assert {name: message.model for name, message in answers.items()} == models
    assert all(text_of(message) for message in answers.values())


@pytest.mark.parametrize("arm", ["candidate", "control"])
def test_an_answer_that_was_begun_goes_on_in_its_line_as_control_would_have_it(
    client: Anthropic, gateway: Deployed, arm: str
) -> None:
    requests = [item("json", arm, messages=BEGUN), item("text", arm)]
    raw = client.messages.batches.with_raw_response.create(requests=requests)
    assert ("prefill=E" in raw.headers["x-gateway-rewrites"]) is (arm == "candidate")
    answers = succeeded(client, raw.parse().id)
    assert {block.type for message in answers.values() for block in message.content} == {"text"}
    assert json.loads("{" + text_of(answers["json"]))
    url = f"{gateway.url}/v1/messages/batches/{raw.parse().id}/results"
    relayed = gateway.http.get(url, headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"})
    assert relayed.headers["x-gateway-results"] == ("restored" if arm == "candidate" else "as_they_are")
    assert len(relayed.text.splitlines()) == 2


def test_a_forced_call_comes_back_as_the_call(client: Anthropic, upstream: Simulated) -> None:
    since = upstream.last_seq()
    batch = client.messages.batches.create(
        requests=[item(arm, arm, **FORCED) for arm in ("candidate", "control")]
    )
    assert sent_to(upstream, since)["candidate"]["model"] == CANDIDATE
    for message in succeeded(client, batch.id).values():
        (call,) = [block for block in message.content if block.type == "tool_use"]
        assert (call.name, message.stop_reason) == ("weather", "tool_use")
        assert isinstance(call.input["place"], str)


def test_results_are_told_at_the_gateway_and_nowhere_else(
    client: Anthropic, gateway: Deployed, upstream: Simulated
) -> None:
    batch = client.messages.batches.create(requests=[item("a", "candidate")])
    done = client.messages.batches.retrieve(batch.id)
    assert done.results_url == f"{gateway.url}/v1/messages/batches/{batch.id}/results"
    listed = [each for each in client.messages.batches.list(limit=5) if each.id == batch.id]
    assert [each.results_url for each in listed] == [done.results_url]
    since = upstream.last_seq()
    assert list(client.messages.batches.results(batch.id))
    hosts = {dict(entry["headers"])["host"] for entry in upstream.requests(since)}
    assert hosts == {upstream.url.removeprefix("http://")}
    assert client.messages.batches.delete(batch.id).id == batch.id


async def test_a_batch_is_cancelled_and_its_results_read_asynchronously(patient: AsyncAnthropic) -> None:
    batch = await patient.messages.batches.create(requests=[item("a", "candidate")])
    assert (await patient.messages.batches.cancel(batch.id)).processing_status == "canceling"
    results = [result async for result in await patient.messages.batches.results(batch.id)]
    assert [(each.custom_id, each.result.type) for each in results] == [("a", "canceled")]


def test_another_process_puts_the_results_back(
    gateway: Deployed, upstream: Simulated, tmp_path: Path, client: Anthropic
) -> None:
    document = migration("m", CONTROL, CANDIDATE, match={"models": [ALIAS, CONTROL]})
    config = write_config(tmp_path, upstream.url, document)
    store = f"sqlite:///{tmp_path}/shared.db"
    with deployed(config, tmp_path / "one", store_url=store) as one:
        one.act("m", "start", reason="test")
        one.set_weight("m", 100)
        with Anthropic(api_key=KEY, base_url=one.url) as first:
            batch = first.messages.batches.create(requests=[item("json", messages=BEGUN)])
    with (
        deployed(config, tmp_path / "two", store_url=store) as two,
        Anthropic(api_key=KEY, base_url=two.url) as second,
    ):
        assert json.loads("{" + text_of(succeeded(second, batch.id)["json"]))
        counted = dict(labelled(two.metrics(), "batch_items_total", "arm", "result"))
        assert counted["candidate succeeded"] == 1
    native = succeeded(client, batch.id)["json"]  # a gateway that never heard of it
    assert text_of(native).lstrip().startswith("{")


def test_what_the_upstream_says_of_a_bad_batch_reaches_the_client(client: Anthropic) -> None:
    twice = [item("a", "candidate"), item("a", "candidate")]
    with pytest.raises(BadRequestError) as refused:
        client.messages.batches.create(requests=twice)
    assert "Duplicate custom_id" in refused.value.message
    assert refused.value.response.headers["x-gateway-fallback"] == "rejected_by_model"


def test_a_line_says_what_kept_one_item_from_an_answer(client: Anthropic) -> None:
    wrong = item("wrong", "candidate", from_2031=1)
    batch = client.messages.batches.create(requests=[wrong, item("right", "candidate")])
    results = {line.custom_id: line.result for line in client.messages.batches.results(batch.id)}
    assert (results["wrong"].type, results["right"].type) == ("errored", "succeeded")


def test_a_batch_is_no_request_and_enrols_nobody(client: Anthropic, gateway: Deployed) -> None:
    before, enrolled = requests_of(gateway), gateway.status("m")["enrolled"]
    client.messages.batches.create(requests=[item(f"i{n}", "candidate") for n in range(3)])
    assert (requests_of(gateway), gateway.status("m")["enrolled"]) == (before, enrolled)
    assert gateway.metrics()[ASSIGNED] >= 3


ASSIGNED = 'gateway_batch_items_total{arm="candidate",migration="m",result="assigned"}'


def requests_of(gateway: Deployed) -> float:
    page = gateway.metrics().items()
    return sum(value for name, value in page if name.startswith("gateway_requests_total"))


def test_others_are_served_while_thousands_of_items_are_assigned(
    gateway: Deployed, client: Anthropic
) -> None:
    requests = [item(f"i{n}", ("candidate", "control")[n % 2]) for n in range(3000)]
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(client.messages.batches.with_raw_response.create, requests=requests)
        served = 0
        while not creating.done():
            assert gateway.http.get(f"{gateway.url}/healthz").status_code == 200
            served += 1
    raw = creating.result()
    assert served > 3
    assert raw.headers["x-gateway-batch-items"] == "m:candidate=1500,m:control=1500"
    models = [message.model for message in succeeded(client, raw.parse().id).values()]
    assert (models.count(CANDIDATE), models.count(CONTROL)) == (1500, 1500)
