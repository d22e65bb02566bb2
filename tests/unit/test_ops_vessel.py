"""Vessel dynamics on tensors against recorded steps (environment spec 6)."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from marinenav_env.envs.torchrl_gpu.episodes import default_params
from marinenav_env.envs.torchrl_gpu.ops.vessel import advance, step_energy, thrust_rates, wrap_to_two_pi
from marinenav_env.envs.torchrl_gpu.state import MOTION_SIZE, THETA, RobotParams


def params_of(names: np.ndarray, values: Tensor, angles: Tensor) -> RobotParams:
    """Constants of n robots as one environment each, [1, n]; unnamed ones are the defaults."""
    fields = default_params(1).of_robots()._asdict()
    fields = {name: value.expand(1, len(values)) for name, value in fields.items()}
    fields |= {name: values[:, i][None] for i, name in enumerate(names.tolist())}
    return RobotParams(**fields | {"left_pos": angles[:, 0][None], "right_pos": angles[:, 1][None]})


@pytest.fixture(scope="module")
def steps(golden: Path) -> dict[str, Tensor]:
    with np.load(golden / "env" / "dynamics_step.npz") as data:
        arrays = {name: data[name] for name in data}
    tensors = {k: torch.from_numpy(v) for k, v in arrays.items() if v.dtype.kind in "biuf"}
    return tensors | {"robot": params_of(arrays["param_names"], tensors["params"], tensors["thruster_angle"])}


def rates_of(steps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    change = default_params(1).thrust_change
    command = thrust_rates(steps["action_continuous"].T[:, None], change, True)
    index = thrust_rates(steps["action_discrete"].clamp(min=0).long()[None], change, False)
    continuous = steps["is_continuous"]
    return tuple(torch.where(continuous, a, b) for a, b in zip(command, index, strict=True))


def recorded_step(steps: dict[str, Tensor], p: RobotParams) -> Tensor:
    motion = torch.zeros(MOTION_SIZE, 1, len(steps["pose"]), dtype=torch.float64)
    motion[:3, 0], motion[3:6, 0] = steps["pose"].T, steps["velocity_r"].T
    motion[9:, 0] = steps["thrust"].T
    flow = steps["current"][:, 0][None], steps["current"][:, 1][None]
    return advance(motion, rates_of(steps), lambda x, y: flow, p, (10, 10))


def test_recorded_steps(steps: dict[str, Tensor]) -> None:
    moved = recorded_step(steps, steps["robot"])
    for rows, name in (
        (slice(0, 3), "out_pose"),
        (slice(3, 6), "out_velocity_r"),
        (slice(6, 9), "out_velocity"),
    ):
        torch.testing.assert_close(moved[rows, 0].T, steps[name][:, -1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(moved[9:, 0].T, steps["out_thrust"], rtol=0, atol=1e-12)
    torch.testing.assert_close(step_energy(moved, steps["robot"])[0], steps["out_energy"], rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", ["xDotU", "yRV", "nVR", "yDotR", "nDotV", "nRV", "length", "right_pos"])
def test_a_wrong_constant_is_noticed(steps: dict[str, Tensor], name: str) -> None:
    """The broken twin: every coefficient enters."""
    wrong = steps["robot"]._replace(**{name: getattr(steps["robot"], name) * 1.0001})
    moved = recorded_step(steps, wrong)
    assert (moved[3:6, 0].T - steps["out_velocity_r"][:, -1]).abs().max() > 1e-9


def test_fewer_substeps_than_others(steps: dict[str, Tensor]) -> None:
    """Robots of 4 and of 10 sub-steps in one batch move as they do among their like."""
    p = steps["robot"]
    few = p._replace(N=torch.full_like(p.N, 4))
    motion = torch.rand(MOTION_SIZE, 1, len(steps["pose"]), dtype=torch.float64)
    rates = (torch.full_like(p.N, 300.0), torch.full_like(p.N, -200.0))

    def field(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sin(x), torch.cos(y)

    alone = advance(motion, rates, field, few, (4, 4))
    mixed = advance(motion, rates, field, few, (4, 10))
    torch.testing.assert_close(mixed, alone, rtol=0, atol=1e-12)


def test_discrete_actions_are_the_pairs_left_outer() -> None:
    """Environment spec 6.3: j div 5 is the left change, j mod 5 the right one."""
    left, right = thrust_rates(torch.arange(25)[None], default_params(1).thrust_change, False)
    change = [0.0, -500.0, -1000.0, 500.0, 1000.0]
    assert left[0].tolist() == [a for a in change for _ in change]
    assert right[0].tolist() == change * 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_yaw_is_wrapped_below_two_pi(dtype: torch.dtype) -> None:
    theta = torch.tensor([-1e-20, -0.5, 0.0, 2 * math.pi, 7.0, -7.0, 6.0], dtype=dtype)
    wrapped = wrap_to_two_pi(theta)
    assert wrapped[0] == 0
    assert ((wrapped >= 0) & (wrapped < 2 * math.pi)).all()
    torch.testing.assert_close(torch.sin(wrapped), torch.sin(theta), rtol=0, atol=1e-6)
    assert THETA == 2
