"""What a request weighs, in tokens.

A token is four characters, or a third less with the newer tokenizers, so the same text counts about 30 %
more there. Thinking weighs what it was when it was made, shown or not.
"""

from collections.abc import Mapping

from gateway.compat.catalog import Model
from gateway.core.types import to_json
from gateway.simulator.rules.bindings.prefix import as_blocks
from gateway.simulator.rules.bindings.stamps import is_thinking, read, sealed_in
from gateway.simulator.rules.case import Json

CHARACTERS_PER_TOKEN = 4.0
FACTORS: Mapping[str, float] = {"old": 1.0, "new": 1.3, "newer": 1.3}
IMAGE_TOKENS: Mapping[str, int] = {"old": 1568, "new": 4784, "newer": 4784}
TOKENS_PER_BLOCK = 4


def count_text(text: str, model: Model) -> int:
    """The tokens of a text, at least one unless it is empty."""
    return -int(-len(text) * FACTORS[model.tokenizer] // CHARACTERS_PER_TOKEN)


def cut_text(text: str, tokens: int, model: Model) -> str:
    """The beginning of a text that fits into so many tokens."""
    return text[: int(tokens * CHARACTERS_PER_TOKEN / FACTORS[model.tokenizer])]


def count_prompt(body: Json, model: Model) -> int:
    """All tokens of a request's prompt."""
    contents = [body.get("tools"), body.get("system"), *(message["content"] for message in body["messages"])]
    return sum(count_block(block, model) for content in contents for block in as_blocks(content))


def count_block(block: Json, model: Model) -> int:
    """The tokens of one block or tool."""
    kind = block.get("type")
    if kind == "text":
        return TOKENS_PER_BLOCK + count_text(block["text"], model)
    if kind == "image":
        return IMAGE_TOKENS[model.tokenizer]
    if kind == "tool_result":
        return TOKENS_PER_BLOCK + sum(count_block(part, model) for part in as_blocks(block.get("content")))
    if is_thinking(block):
        stamp = read(sealed_in(block))
        return stamp.tokens if stamp else count_text(str(block.get("thinking", "")), model)
    return TOKENS_PER_BLOCK + count_text(to_json(unmarked(block)).decode(), model)


def unmarked(block: Json) -> Json:
    """A block without its cache breakpoint."""
    return {key: value for key, value in block.items() if key != "cache_control"}
