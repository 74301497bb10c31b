"""What would become of one request: the question of `POST /admin/compat/preview`, answered from the tables.

Nothing is sent, stored or logged. The answer holds text of the request, which whoever asks has already.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.compat.catalog import Catalogue, Model
from gateway.compat.envelope import parse
from gateway.compat.explain.request import Explained, explain
from gateway.compat.prompts import PromptVariant, ruleset_of, variant_in_force
from gateway.compat.request import RULESET, Context
from gateway.core.spec import CompatPolicy, MigrationSpec
from gateway.core.types import to_json
from gateway.errors import BadRequest, NotFound

Words = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and the way that it is to go."""

    body: dict[str, Any]
    source: str = ""
    """Ids; empty: the migration's."""
    target: str = ""
    betas: tuple[str, ...] = ()
    version: str = ""
    task: str = ""
    policy: Words | None = None
    """What is to be otherwise than in the migration's policy, or in the default one."""


class Previewer:
    """Answers questions with the configuration in force, which is asked each time: files may change."""

    def __init__(
        self, *, catalogue: Callable[[], Catalogue], prompts: Callable[[], Sequence[PromptVariant]]
    ) -> None:
        self._catalogue = catalogue
        self._prompts = prompts

    async def answer(self, question: Question, spec: MigrationSpec | None) -> Explained:
        """Explain; `spec` is the migration whose models and policy hold. Raises BadRequest or NotFound."""
        source = self._model("from", question.source or (spec.control if spec else ""))
        target = self._model("to", question.target or (spec.candidate if spec else ""))
        envelope = parse(_written(question.body))
        variant = variant_in_force(self._prompts(), envelope, question.task, target.id)
        policy = (spec.compat if spec else CompatPolicy()).for_task(question.task)
        policy = replace(policy, **(question.policy or {}))
        context = Context(question.betas, question.version, ruleset_of(RULESET, variant), variant)
        # In a thread, because a large request takes longer than others of this process should wait.
        return await asyncio.to_thread(explain, envelope, source, target, policy, context)

    def _model(self, key: str, model_id: str) -> Model:
        if not model_id:
            raise BadRequest(f"{key}: which model? Or name a migration")
        model = self._catalogue().find(model_id)
        if model is None:
            raise NotFound(f"{key}: {model_id!r} is not in the catalogue")
        return model


def _written(body: dict[str, Any]) -> bytes:
    try:
        return to_json(body)
    except (UnicodeEncodeError, RecursionError, OverflowError):
        raise BadRequest("body: cannot be written as JSON") from None
