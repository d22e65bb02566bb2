"""MAPPO with TorchRL's own parts: vessels share an actor, their critics see the whole fleet.

The task is that of `config/quickstart.json`: five vessels learn, two are evaluated. On one core
`python examples/mappo.py -o mappo.csv` takes some minutes.
"""

import argparse
import time
from pathlib import Path

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import EnvBase, ExplorationType, TransformedEnv, set_exploration_type
from torchrl.modules import MultiAgentMLP, NormalParamExtractor, ProbabilisticActor, TanhNormal
from torchrl.objectives.multiagent import MAPPOLoss
from torchrl.objectives.value import GAE

from marinenav_env.envs.contract.layout import OBSERVATION_SIZE
from marinenav_env.envs.contract.outcome import Outcome
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from marinenav_env.envs.torchrl_gpu.transforms import MarineNavObservation

ROBOTS = 5
STEPS = 32
EPISODE_STEPS = 200
COLLECTING = {"auto_register_policy_transforms": False}
EPOCHS, MINIBATCHES = 4, 8


def make_env(num_envs: int, num_robots: int, seed: int) -> EnvBase:
    """The world of tensors with up to five vessels, what they observe joined and scaled."""
    stage = {"num_robots": num_robots, "num_cores": 0, "num_obs": 0, "min_start_goal_dis": 15.0}
    options = {"max_robots": ROBOTS, "collision_penalty": -8.0, "seed": seed}
    env = MarineNavTorchRLEnv(num_envs, backend="torch", **stage, **options)
    return TransformedEnv(env, MarineNavObservation())


def network(outputs: int, centralized: bool) -> nn.Module:
    """An MLP that vessels share, or one for each of them that sees all.

    A centralized one with shared weights gives all vessels one value, but each has its own reward and end.
    """
    options = {"share_params": not centralized, "depth": 2, "num_cells": 128, "activation_class": nn.ReLU}
    return MultiAgentMLP(OBSERVATION_SIZE, outputs, ROBOTS, centralized=centralized, **options)


def make_actor(env: EnvBase) -> ProbabilisticActor:
    """Thrust changes of each vessel from what it observes."""
    parameters = [("agents", "loc"), ("agents", "scale")]
    layers = nn.Sequential(network(4, centralized=False), NormalParamExtractor())
    return ProbabilisticActor(
        TensorDictModule(layers, [("agents", "observation")], parameters),
        in_keys=parameters,
        out_keys=[("agents", "action")],
        spec=env.action_spec,
        distribution_class=TanhNormal,
        return_log_prob=True,
        log_prob_key=("agents", "action_log_prob"),
    )


def make_loss(actor: ProbabilisticActor) -> tuple[MAPPOLoss, GAE]:
    """The loss with its critic, and the advantages: of each vessel's own episode."""
    critic = TensorDictModule(
        network(1, centralized=True), [("agents", "observation")], [("agents", "state_value")]
    )
    of_vessel = {
        key: ("agents", key) for key in ("reward", "done", "terminated", "advantage", "value_target")
    }
    of_vessel["value"] = ("agents", "state_value")
    # Squared errors: the default, smooth_l1, hardly counts a collision, rare and far from what is expected.
    loss = MAPPOLoss(actor, critic, entropy_coeff=0.001, loss_critic_type="l2")
    loss.set_keys(action=("agents", "action"), sample_log_prob=("agents", "action_log_prob"), **of_vessel)
    advantage = GAE(gamma=0.99, lmbda=0.95, value_network=critic)
    advantage.set_keys(**of_vessel)
    return loss, advantage


def success(env: EnvBase, actor: ProbabilisticActor) -> tuple[float, float]:
    """Share of first episodes in which all vessels arrive within 100 s, and the mean return of a vessel.

    Actions are drawn, as in training: with the mean ones vessels often circle about their goal.
    """
    with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
        data = env.rollout(EPISODE_STEPS, actor, break_when_any_done=False)["next"]
    first = (data["done"].cumsum(1) - data["done"].long() == 0).unsqueeze(-1)
    outcome = data["agents", "outcome"]
    absent = outcome[:, 0] == Outcome.ABSENT
    arrived = ((outcome == Outcome.REACH_GOAL) & first).any(1) | absent
    returns = (data["agents", "reward"] * first).sum(1)
    return arrived.all(1).float().mean().item(), returns[~absent].mean().item()


def learn(loss: MAPPOLoss, optimizer: torch.optim.Optimizer, data: TensorDictBase) -> None:
    """Some epochs over the time steps of all environments."""
    data = data.flatten()
    for _ in range(EPOCHS):
        for part in data[torch.randperm(len(data))].chunk(MINIBATCHES):
            losses = loss(part)
            sum(value for key, value in losses.items() if key.startswith("loss_")).backward()
            nn.utils.clip_grad_norm_(loss.parameters(), 10.0)
            optimizer.step()
            optimizer.zero_grad()


def main(timesteps: int, num_envs: int, seed: int, every: int, out: Path | None, episodes: int = 100) -> None:
    """Train, and write the curve: timestep, success, return, seconds of a core."""
    torch.manual_seed(seed)
    env, evaluation = make_env(num_envs, ROBOTS, seed), make_env(episodes, 2, seed=20261)
    actor = make_actor(env)
    loss, advantage = make_loss(actor)
    optimizer = torch.optim.Adam(loss.parameters(), 5e-4)
    frames = STEPS * num_envs
    collector = Collector(env, actor, frames_per_batch=frames, total_frames=timesteps, **COLLECTING)
    begin, lines = time.process_time(), ["timestep,success,return,cpu_seconds"]
    for k, data in enumerate(collector, 1):
        with torch.no_grad():
            advantage(data)
        data["shifted_valid"] = data["agents", "active"]  # who is absent counts in no loss and no mean
        learn(loss, optimizer, data)
        if k % every == 0:
            evaluation.set_seed(20261)  # the same episodes each time
            numbers = [*success(evaluation, actor), time.process_time() - begin]
            lines.append(f"{k * frames}," + ",".join(f"{number:.3f}" for number in numbers))
            print(lines[-1], flush=True)
    collector.shutdown()
    if out:
        out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timesteps", type=int, default=1_000_000)
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=10, help="iterations between evaluations")
    parser.add_argument("-o", "--out", type=Path, help="file for the learning curve")
    main(**vars(parser.parse_args()))
