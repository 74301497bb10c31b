"""The simulator's verdict on a request, without a server: the judge of what the gateway rewrites."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from gateway.compat.catalog import Catalogue
from gateway.simulator.replies.tokens import count_prompt
from gateway.simulator.rules.case import ApiError, Case, find_model, whole_numbers
from gateway.simulator.rules.judge import check
from gateway.simulator.rules.switches import Switches
from tests.support.upstream import shipped_catalogue

VERSION = "2023-06-01"
HELLO = {"role": "user", "content": "Hello"}


@cache
def catalogue() -> Catalogue:
    """The shipped catalogue, read once."""
    return shipped_catalogue()


def case_of(
    body: dict[str, Any],
    *,
    version: str = VERSION,
    betas: Iterable[str] = (),
    switches: Switches | None = None,
    counting: bool = False,
    batched: bool = False,
    without: str = "",
    account: str = "",
    workspace: str = "",
    end_user: str = "",
) -> Case:
    """A request as the rules see it; `max_tokens` and one message are filled in unless they are `without`."""
    body = {"max_tokens": 1024, "messages": [HELLO]} | body
    body.pop(without, None)
    switches = switches or Switches()
    model = find_model(body, catalogue(), switches)
    return Case(
        whole_numbers(body),
        model,
        version,
        frozenset(betas),
        switches,
        counting,
        batched,
        account=account,
        workspace=workspace,
        end_user=end_user,
        catalogue=catalogue(),
    )


def verdict(body: dict[str, Any], **given: Any) -> str:
    """The message of the 400 that a request deserves, if any; takes what `case_of` takes."""
    case = case_of(body, **given)
    try:
        check(case, lambda: count_prompt(case.body, case.model))
    except ApiError as error:
        return error.message if error.status == 400 else f"{error.status} {error.message}"
    return ""
