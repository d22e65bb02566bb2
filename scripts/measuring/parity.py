"""The same work on the CPU and on another device, and how far the numbers are apart."""

from collections.abc import Iterable

import torch
from torch import Tensor

from agents.batch import Batch
from agents.learners.base import Learner
from marinenav_env.envs.torchrl_gpu.world import VectorWorld
from scripts.measuring.pipelines import Bench, Row
from scripts.measuring.updates import some_draws
from scripts.measuring.worlds import OBSTACLES, ROBOTS, new_world
from torchrl_gpu.experiment import build_agent
from torchrl_gpu.replay.rows import Draw

STEPS, UPDATES = 100, 20


def worlds(num_envs: int, device: str) -> list[Row]:
    """Largest differences between a world on the CPU and one on the device."""
    episodes = new_world(num_envs, dtype=torch.float64).episode_data()
    options = {"max_obstacles": OBSTACLES, "dtype": torch.float64}
    both = [VectorWorld(num_envs, ROBOTS, **options, device=each) for each in ("cpu", device)]
    for world in both:
        world.load(episodes)
    generator = torch.Generator("cpu").manual_seed(0)
    shape = (2, ROBOTS, num_envs)
    apart: dict[str, list[float]] = {"observations": [], "rewards": []}
    equal = []
    for _ in range(STEPS):
        action = torch.rand(shape, generator=generator, dtype=torch.float64) * 1.2 - 0.2  # rather forwards
        here, there = (world.advance(action.to(world.device)) for world in both)
        seen = zip(here.observation, there.observation, strict=True)
        for name, pairs in {"observations": seen, "rewards": [(here.reward, there.reward)]}.items():
            apart[name] += [(a - b.cpu()).abs().max().item() for a, b in pairs]
        equal.append((here.outcome == there.outcome.cpu()).double().mean().item())
    ended = 1 - both[0].state.active.double().mean().item()
    sizes = {"environments": num_envs, "steps": STEPS, "robots that ended": ended}
    found = {name: largest(values) for name, values in apart.items()}
    return [sizes | found | {"equal outcomes": sum(equal) / len(equal)}]


def updates(bench: Bench, agent: str, device: str) -> list[Row]:
    """Largest relative differences of losses and weights, in either precision."""
    trial, draws = some_draws(bench, agent, UPDATES)
    row: Row = {"agent": agent, "updates": UPDATES}
    for dtype in (torch.float64, torch.float32):
        learners = [build_agent(trial, each).learner for each in ("cpu", device)]
        losses = apart_in_losses(*learners, draws, dtype)
        weights = [relative(*map(flat, pair)) for pair in zip(*map(trained, learners), strict=True)]
        name = str(dtype).removeprefix("torch.")
        row |= {f"losses, {name}": largest(losses), f"weights, {name}": largest(weights)}
    return [row]


def apart_in_losses(here: Learner, there: Learner, draws: Iterable[Draw], dtype: torch.dtype) -> list[float]:
    """Update two learners on each draw; relative differences of their losses."""
    for learner in (here, there):
        learner.to_dtype(dtype)
    there.load_state_dict(here.state_dict())
    found = []
    for draw in draws:
        noise = here.draw_noise(len(draw.rows))
        for name, network in there.networks(there.policy_target).items():
            # Rainbow's noise is there; its weights nothing changes
            network.load_state_dict(here.networks(here.policy_target)[name].state_dict())
        losses, expected = (updated(learner, draw, noise, dtype) for learner in (there, here))
        found += [relative(loss, losses[name]) for name, loss in expected.items()]
    return found


def updated(learner: Learner, draw: Draw, noise: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Losses of an update on what was drawn on the CPU."""
    options = {"device": learner.device, "dtype": dtype}
    weight = None if draw.weight is None else draw.weight.to(**options)
    batch = Batch.of(draw.rows.to(**options), learner.continuous, weight=weight)
    drawn = {name: value.to(**options) for name, value in noise.items()}
    return learner.descend(learner.next_stages(), batch, drawn, learner.step)


def trained(learner: Learner) -> list[list[Tensor]]:
    """Parameters of each network."""
    return [learner.parameters(name) for name in learner.optimizers]


def flat(tensors: list[Tensor]) -> Tensor:
    """All in one piece."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def relative(expected: Tensor, found: Tensor) -> float:
    """Norm of a difference, of that of what is expected."""
    expected, found = expected.detach().double(), found.detach().cpu().double()
    return ((found - expected).norm() / expected.norm().clamp(min=1e-30)).item()


def largest(values: list[float]) -> float:
    """The largest, or NaN if there is one, which Python's ``max`` may pass over."""
    return torch.tensor(values, dtype=torch.float64).max().item()
