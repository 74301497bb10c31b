"""The routing table: which migration governs a requested model id, compiled from what the fleet agreed on.

Built anew whenever the snapshot or the configuration changes and swapped as a whole, so that a request sees
one consistent world. A migration that is past its draft is governed by its run's own copy of the
configuration, even where the file has gone; in draft, completed and rolled back a missing file means: not
governed any more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from gateway.compat.catalog import Catalogue, Model
from gateway.compat.envelope import Envelope, present
from gateway.compat.prompts import PromptVariant, ruleset_of, variant_in_force
from gateway.compat.request import RULESET
from gateway.core.rollout import spec_in_force
from gateway.core.spec import Lists, MigrationSpec
from gateway.core.types import Arm, MigrationState, Phase

_HELD = frozenset({Phase.running, Phase.paused, Phase.soaking})


@dataclass(frozen=True, slots=True)
class Governed:
    """One migration as a request meets it."""

    spec: MigrationSpec
    state: MigrationState
    lists: Lists
    control: Model
    candidate: Model
    as_sent: Mapping[Arm, Model]
    """The same two, each by the id that is sent for it."""
    rescues: bool
    """Control may answer where the candidate fails."""
    prompts: tuple[PromptVariant, ...] = ()
    """Every version of the variants for its models."""

    @property
    def name(self) -> str:
        return self.spec.name

    def model(self, arm: Arm) -> Model:
        """Return the catalogue row of an arm."""
        return self.control if arm is Arm.control else self.candidate

    def model_id(self, arm: Arm) -> str:
        """Return the id that is sent for an arm: as configured."""
        return self.as_sent[arm].id

    def varies(self, arm: Arm) -> bool:
        """Tell whether what is said to an arm's model depends on the ruleset of the conversation."""
        model = self.control.id
        return arm is Arm.candidate or any(model in variant.models for variant in self.prompts)

    def ruleset(self, arm: Arm, envelope: Envelope, task: str) -> str:
        """Return the ruleset of a conversation that begins on an arm."""
        variant = variant_in_force(self.prompts, envelope, task, self.model(arm).id)
        return ruleset_of(RULESET, variant)


@dataclass(frozen=True, slots=True)
class Table:
    """Requested model id → migration."""

    by_model: Mapping[str, Governed]
    by_name: Mapping[str, Governed]

    def find(self, model_id: str) -> Governed | None:
        """Return the migration that governs exactly this id."""
        return self.by_model.get(model_id)

    def governing(self, envelope: Envelope) -> Governed | None:
        """Return the migration that governs a request.

        None does where a fallback credit is redeemed: it is bound to the very request that was declined and
        to the models that may serve it instead, so it is served as it was asked for.
        """
        governed = self.find(envelope.model)
        return None if present(envelope.fields.get("fallback_credit_token")) else governed


def build(
    specs: Iterable[MigrationSpec],
    states: Mapping[str, MigrationState],
    catalogue: Catalogue,
    today: date,
    prompts: Iterable[PromptVariant] = (),
) -> Table:
    """Compile the table; `specs`, `catalogue` and `prompts` are the configuration's, `states` the fleet's."""
    variants = tuple(prompts)
    files = {spec.name: spec for spec in specs}
    running = {name: state.spec for name, state in states.items() if state.spec and state.phase in _HELD}
    by_name: dict[str, Governed] = {}
    for name, file_spec in {**running, **files}.items():
        governed = _compile(file_spec, states.get(name) or MigrationState(name), catalogue, today)
        if governed is not None:
            models = {governed.control.id, governed.candidate.id}
            own = tuple(each for each in variants if models & each.models)
            by_name[name] = replace(governed, prompts=own)
    by_model = {model: governed for governed in by_name.values() for model in governed.spec.models}
    return Table(by_model, by_name)


def _compile(
    file_spec: MigrationSpec, state: MigrationState, catalogue: Catalogue, today: date
) -> Governed | None:
    spec = file_spec if state.phase is Phase.draft else spec_in_force(state, file_spec)
    control, candidate = catalogue.find(spec.control), catalogue.find(spec.candidate)
    if (
        control is None or candidate is None
    ):  # a run's copy may name a model that the catalogue has since lost
        return None
    lists = state.lists if state.lists is not None else spec.lists
    as_sent = {
        Arm.control: replace(control, id=spec.control),
        Arm.candidate: replace(candidate, id=spec.candidate),
    }
    return Governed(spec, state, lists, control, candidate, as_sent, rescues=not _retired(control, today))


def _retired(model: Model, today: date) -> bool:
    on = model.lifecycle.retires_on
    return model.lifecycle.status == "retired" or (on is not None and on <= today)
