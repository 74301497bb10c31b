"""What a model is shown of a request: the body without what was removed before it looks.

Removed are thinking blocks that failed a check (`checks`), thinking of turns before the last question (on
models that keep none), and system messages that were to be cleared at the user's next message. Tokens and the
prompt cache go by this body; nothing of it is told to the client.
"""

from gateway.simulator.rules.bindings.checks import has_thinking, inspect
from gateway.simulator.rules.bindings.prefix import as_blocks
from gateway.simulator.rules.bindings.readers import STRIPPING
from gateway.simulator.rules.bindings.stamps import is_thinking
from gateway.simulator.rules.case import Case, Json


def shown_body(case: Case) -> Json:
    """The body as the model reads it; the body itself if nothing is removed."""
    return case.once("shown", lambda: _shown(case))


def _shown(case: Case) -> Json:
    removed = inspect(case).removed
    strips = case.model.id in STRIPPING and has_thinking(case)
    clears = any(message.get("clear_at") == "next_user_message" for message in case.messages)
    if not (removed or strips or clears):
        return case.body
    asked = _last_question(case.messages)
    messages = []
    for index, message in enumerate(case.messages):
        if message.get("clear_at") == "next_user_message" and _is_over(case.messages[index:]):
            continue
        content = message["content"]
        if isinstance(content, list):
            gone = strips and index < asked
            content = [
                block
                for position, block in enumerate(content)
                if (index, position) not in removed and not (gone and is_thinking(block))
            ]
        messages.append({**message, "content": content})
    return {**case.body, "messages": messages}


def _last_question(messages: list[Json]) -> int:
    """The last turn of the user that is more than results of tools."""
    asked = (
        index
        for index in range(len(messages) - 1, -1, -1)
        if messages[index]["role"] == "user"
        and any(block["type"] != "tool_result" for block in as_blocks(messages[index]["content"]))
    )
    return next(asked, 0)


def _is_over(rest: list[Json]) -> bool:
    return any(message["role"] == "user" for message in rest)
