"""A quarter of an hour in the life of a migration, watched and drawn: `make pictures`.

The candidate climbs to half of the traffic; the store hangs for a moment; then the candidate is overloaded, a
little at first, until the gateway rolls it back. What Prometheus saw of it becomes docs/images/*.png.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from deploy.grafana.picture import Answers, save
from tests.support.deploy import REPOSITORY, eventually
from tests.support.watched import CANDIDATE, NAME, UNGOVERNED, Watched, pause, watched

STAGES = [
    {"name": "internal", "percent": 0, "hold": "2m"},
    {"name": "canary", "percent": 5, "hold": "2m"},
    {"name": "early", "percent": 25, "hold": "2m"},
    {"name": "half", "percent": 50, "hold": "4m"},
    {"name": "full", "percent": 100},
]
BACKGROUND = ("kind=refusal,rate=0.01", "kind=stream_error,rate=0.004")
"""What always goes wrong a little."""
MINUTE_S = 60.0


def main() -> None:
    """Live through it and draw it."""
    with tempfile.TemporaryDirectory() as directory:
        as_it_is: dict[str, Any] = {"breakers": {}, "hurry": 1, "every_s": 2, "retires_in_days": 50}
        with watched(Path(directory), speed=4, at_once=5, stages=STAGES, **as_it_is) as world:
            live(world)
            answers = Answers(world.prometheus.url, world.began_at, time.time())
            save(answers, NAME, REPOSITORY / "docs" / "images")


def live(world: Watched) -> None:
    """Climb, stumble, fall."""
    world.simulator.faults(*BACKGROUND)
    pause(0.5 * MINUTE_S)
    world.act("start", "the first stage is for ourselves")
    for stage in STAGES[1:4]:
        pause(1.5 * MINUTE_S)
        world.ask(UNGOVERNED)
        world.act("advance", f"on to {stage['name']}")
    pause(2 * MINUTE_S)
    world.store_fails()
    pause(MINUTE_S)
    world.simulator.faults(*BACKGROUND, f"model={CANDIDATE},kind=overloaded,rate=0.04")
    pause(2 * MINUTE_S)
    world.simulator.faults(*BACKGROUND, f"model={CANDIDATE},kind=overloaded,rate=0.5")
    eventually(lambda: world.phase() == "rolled_back", within_s=4 * MINUTE_S, every_s=1)
    pause(2 * MINUTE_S)


if __name__ == "__main__":
    main()
