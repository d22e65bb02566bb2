"""SAC with TorchRL's own parts: vessels share an actor and critics, each step of a vessel is a sample.

The task is that of `config/quickstart.json`: five vessels learn, two are evaluated. On one core
`python examples/sac.py --every 80 -o sac.csv` takes some minutes.
"""

import argparse
import time
from pathlib import Path

import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import EnvBase, ExplorationType, TransformedEnv, set_exploration_type
from torchrl.modules import MLP, NormalParamExtractor, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from marinenav_env.envs.contract.layout import OBSERVATION_SIZE
from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from marinenav_env.envs.torchrl_gpu.transforms import MarineNavObservation, rows_of_vessels

OBSERVATION, ACTION = ("agents", "observation"), ("agents", "action")
STEPS = 8
EPISODE_STEPS = 200
COLLECTING = {"init_random_frames": 5120, "auto_register_policy_transforms": False}
LAYERS = {"num_cells": [128, 128], "activation_class": nn.ReLU}


def make_env(num_envs: int, num_robots: int, seed: int) -> EnvBase:
    """The world of tensors, what its vessels observe joined and scaled."""
    stage = {"num_robots": num_robots, "num_cores": 0, "num_obs": 0, "min_start_goal_dis": 15.0}
    env = MarineNavTorchRLEnv(num_envs, backend="torch", collision_penalty=-8.0, seed=seed, **stage)
    return TransformedEnv(env, MarineNavObservation())


def make_actor() -> ProbabilisticActor:
    """Thrust changes of a vessel from what it observes, whatever stands before the last axis."""
    layers = nn.Sequential(MLP(OBSERVATION_SIZE, 4, **LAYERS), NormalParamExtractor())
    return ProbabilisticActor(
        TensorDictModule(layers, [OBSERVATION], ["loc", "scale"]),
        in_keys=["loc", "scale"],
        out_keys=[ACTION],
        distribution_class=TanhNormal,
    )


def make_loss(actor: ProbabilisticActor) -> SACLoss:
    """The loss with its critics, on rows of single vessels."""
    layers = MLP(OBSERVATION_SIZE + 2, 1, **LAYERS)
    critic = ValueOperator(layers, [OBSERVATION, ACTION], ["state_action_value"])
    # Squared errors: the default, smooth_l1, hardly counts a collision, rare and far from what is expected.
    options = {"loss_function": "l2", "alpha_init": 0.1, "fixed_alpha": True, "target_entropy": -2.0}
    loss = SACLoss(actor, critic, **options)
    loss.set_keys(action=ACTION, **{key: ("agents", key) for key in ("reward", "done", "terminated")})
    loss.make_value_estimator(gamma=0.99)
    return loss


def success(env: EnvBase, actor: nn.Module) -> tuple[float, float]:
    """Share of first episodes in which all vessels arrive within 100 s, and the mean return of a vessel.

    Actions are drawn, as in training: with the mean ones vessels often circle about their goal.
    """
    with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
        data = env.rollout(EPISODE_STEPS, actor, break_when_any_done=False)["next"]
    first = (data["done"].cumsum(1) - data["done"].long() == 0).unsqueeze(-1)
    arrived = ((data["agents", "outcome"] == Outcome.REACH_GOAL) & first).any(1)
    returns = (data["agents", "reward"] * first).sum(1)
    return arrived.all(1).float().mean().item(), returns.mean().item()


def main(timesteps: int, num_envs: int, seed: int, every: int, out: Path | None, episodes: int = 100) -> None:
    """Train, and write the curve: timestep, success, return, seconds of a core."""
    torch.manual_seed(seed)
    env, evaluation = make_env(num_envs, 5, seed), make_env(episodes, 2, seed=20261)
    actor = make_actor()
    averaged = AveragedModel(actor, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    loss = make_loss(actor)
    target = SoftUpdate(loss, tau=0.005)
    optimizer = torch.optim.Adam(loss.parameters(), 5e-4)
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(200_000), batch_size=256)
    frames = STEPS * num_envs
    collector = Collector(env, actor, frames_per_batch=frames, total_frames=timesteps, **COLLECTING)
    begin, lines = time.process_time(), ["timestep,success,return,cpu_seconds"]
    for k, data in enumerate(collector, 1):
        buffer.extend(rows_of_vessels(data))
        for _ in range(frames // 32):
            losses = loss(buffer.sample())
            sum(value for key, value in losses.items() if key.startswith("loss_")).backward()
            optimizer.step()
            optimizer.zero_grad()
            target.step()
            averaged.update_parameters(actor)
        if k % every == 0:
            evaluation.set_seed(20261)  # the same episodes each time
            numbers = [*success(evaluation, averaged.module), time.process_time() - begin]
            lines.append(f"{k * frames}," + ",".join(f"{number:.3f}" for number in numbers))
            print(lines[-1], flush=True)
    collector.shutdown()
    if out:
        out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timesteps", type=int, default=250_000)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=20, help="iterations between evaluations")
    parser.add_argument("-o", "--out", type=Path, help="file for the learning curve")
    main(**vars(parser.parse_args()))
