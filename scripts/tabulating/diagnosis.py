"""How the episodes of an evaluation ended, stage by stage, and which went worst."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torchrl_gpu.evaluation.metrics import ENDINGS, EpisodeResult
from torchrl_gpu.program import table

SUCCESS, VESSEL, BUOY, TIME_OUT = ENDINGS
CONTACT = "collision"
"""Of which no trajectory tells what was hit."""
KINDS = (SUCCESS, VESSEL, BUOY, CONTACT, TIME_OUT)
"""How an episode ended; of several contacts the first of these counts."""
WORST = 5
"""Episodes that are named."""


class Ending(NamedTuple):
    """How an episode ended: one of `KINDS`, and the details in words."""

    kind: str
    words: str


def ending_of(episode: dict[str, Any], result: EpisodeResult) -> Ending:
    """How an episode ended; success counts even if a robot collides as the last arrives (Defect T14)."""
    from scripts.drawing.episodes import world_of
    from scripts.drawing.recording import contact

    if result.success:
        return Ending(SUCCESS, "all robots arrived")
    robots = range(len(result.trajectories))
    if result.outcomes:
        robots = [k for k, outcome in enumerate(result.outcomes) if outcome == "collision"]
    world = world_of(episode, "episode") if robots and result.trajectories else None
    hits = {k: contact(world, result.trajectories, k) if world else None for k in robots}
    # A collision that went undetected (Quirk W15) counts only where outcomes are unknown.
    hits = {k: hit for k, hit in hits.items() if hit or result.outcomes}
    if not hits:
        return Ending(TIME_OUT, "not all robots arrived in time")
    once = {k: hit for k, hit in hits.items() if not any(hits.get(j) == f"robot {k}" for j in range(k))}
    words = " and ".join(f"robot {k} {f'hit {hit}' if hit else 'collided'}" for k, hit in once.items())
    kinds = {VESSEL if hit and hit.startswith("robot") else BUOY if hit else CONTACT for hit in hits.values()}
    return Ending(next(kind for kind in KINDS if kind in kinds), words)


def endings_table(stages: Sequence[Sequence[str]], stage_of: Sequence[int], endings: Sequence[Ending]) -> str:
    """How often episodes ended in each way, a row a stage and its numbers of things, as aligned text."""
    seen = [kind for kind in KINDS if any(ending.kind == kind for ending in endings)]
    rows = []
    for number, stage in enumerate(stages):
        own = [ending.kind for ending, index in zip(endings, stage_of, strict=True) if index == number]
        rows.append([*stage, str(len(own)), *(str(own.count(kind)) for kind in seen)])
    kinds = [ending.kind for ending in endings]
    rows.append(["total", "", "", str(len(kinds)), *(str(kinds.count(kind)) for kind in seen)])
    return table(["robots", "cores", "obstacles", "episodes", *seen], rows)


def worst_episodes(endings: Sequence[Ending], returns: Sequence[float], stage_of: Sequence[int]) -> list[str]:
    """A line for each of the unsuccessful episodes with the lowest returns."""
    failed = [k for k, ending in enumerate(endings) if ending.kind != SUCCESS]
    worst = sorted(failed, key=lambda k: returns[k])[:WORST]
    return [f"episode {k}, stage {stage_of[k]}: return {returns[k]:.2f}, {endings[k].words}" for k in worst]
