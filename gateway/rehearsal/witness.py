"""What the callers saw from the moment something went wrong.

Only requests that were sent from then on count: what was on its way was answered by a model that was well.
Times are those of the callers, who share a clock with the gateway that they call.
"""

from collections import deque
from dataclasses import dataclass, field

from gateway.core.types import Arm, Reason
from gateway.demo.tally import Seen
from gateway.rehearsal.failures import Shows
from gateway.tasks import Clock


@dataclass(slots=True)
class Felt:
    """What came of the requests that were sent since."""

    requests: int = 0
    candidate: int = 0
    """Sent to the candidate."""
    hurt: int = 0
    """Their callers could not use the answer."""
    rescued: int = 0
    """Control answered in the candidate's place."""
    first_bad_at: float | None = None
    """When the first answer that shows the failure was in, epoch seconds."""
    last_candidate_at: float | None = None
    """When the last request that went to the candidate was sent."""


@dataclass(slots=True)
class Witness:
    """Notes what callers report."""

    clock: Clock
    shows: Shows
    complains: bool = False
    """Whether users complain of the candidate's answers."""
    answered: int = 0
    """By the candidate, before and after."""
    worst: dict[str, int] = field(default_factory=dict)
    """What callers could not use since, by how often."""
    complaints: deque[str] = field(default_factory=lambda: deque(maxlen=100))
    """Ids of requests that somebody is about to complain of."""
    felt: Felt = field(default_factory=Felt)
    _since: float = float("inf")

    def begin(self) -> None:
        """Count what is sent from now on."""
        self.felt, self._since = Felt(), self.clock.now()

    def see(self, _: str, seen: Seen) -> None:
        """Take one answer."""
        now = self.clock.now()
        by_candidate = seen.arm is Arm.candidate and seen.reason != Reason.unservable
        self.answered += by_candidate
        sent_at = now - seen.took_s
        if sent_at < self._since:
            return
        felt = self.felt
        felt.requests += 1
        felt.hurt += seen.complaint is not None
        felt.rescued += seen.fallback is not None
        if seen.complaint is not None:
            words = f"{seen.application}: {seen.complaint}"
            self.worst[words] = self.worst.get(words, 0) + 1
        if by_candidate:
            self._note(seen, sent_at, now)

    def _note(self, seen: Seen, sent_at: float, now: float) -> None:
        felt = self.felt
        felt.candidate += 1
        felt.last_candidate_at = max(sent_at, felt.last_candidate_at or sent_at)
        if felt.first_bad_at is None and self.shows(seen):
            felt.first_bad_at = now
        if self.complains and seen.request_id:
            self.complaints.append(seen.request_id)
