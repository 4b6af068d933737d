"""The policies that stand side by side."""

from __future__ import annotations

from collections.abc import Callable

from .callers import Gated, Line, Stock, completion_delay, router_delay
from .world import Policy, Record, Scene, World

POLICIES: dict[str, Callable[[World], Policy]] = {
    "one line that sees the room": Line,
    "no gate, litellm.completion": lambda world: Stock(world, completion_delay),
    "no gate, Router": lambda world: Stock(world, router_delay),
    "a gate in each process": lambda world: Gated(world, share=False),
    "gates that share": lambda world: Gated(world, share=True),
}
DRAWN = ("no gate, Router", "a gate in each process", "gates that share")


def simulate(scene: Scene, policy: str) -> Record:
    """One policy in one scene, from the first call to the last answer."""
    world = World(scene)
    world.policy = POLICIES[policy](world)
    return world.run()
