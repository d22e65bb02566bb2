"""Pictures show the world that is there, and TorchRL's recorder takes them."""

import numpy as np
import pytest
import torch
from torchrl.envs import Compose, ParallelEnv, TransformedEnv
from torchrl.envs.utils import check_env_specs
from torchrl.record import CSVLogger, PixelRenderTransform, VideoRecorder

from marinenav_env.envs.contract import colours
from marinenav_env.envs.torchrl_gpu import MarineNavTorchRLEnv
from marinenav_env.envs.torchrl_gpu.picture import rgb

SMALL = {"num_robots": 2, "max_robots": 3, "num_cores": 2, "num_obs": 2, "min_start_goal_dis": 20.0}
SIDE = 320


def make_env(backend, **options):
    return MarineNavTorchRLEnv(2, backend=backend, seed=4, **SMALL | options)


def pixel(picture, x, y):
    """Colour at a point of the map (m), which is 55 m wide in a frame of 61 m; None outside."""
    row, column = int((58 - x) / 61 * SIDE), int((y + 3) / 61 * SIDE)
    return picture[row, column] / 255


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_things_are_where_the_episode_says(backend):
    env = make_env(backend)
    env.reset()
    pictures = env.render(SIDE)
    assert (pictures.shape, pictures.dtype) == ((2, SIDE, SIDE, 3), np.uint8)
    for picture, episode in zip(pictures, env.episode_data(), strict=True):
        robots, world = episode["robots"], episode["env"]
        assert len(world["obstacles"]["positions"]) == 2
        for place in world["obstacles"]["positions"]:
            np.testing.assert_allclose(pixel(picture, *place), rgb(colours.OBSTACLE), atol=0.01)
        for k in range(2):
            colour, theta = rgb(colours.VESSELS[k]), robots["init_theta"][k]
            np.testing.assert_allclose(pixel(picture, *robots["goal"][k]), colour, atol=0.01)
            for ahead, aside, hull in ((1.8, 0, True), (-2.2, 0.8, True), (2.2, 0.8, False), (2.9, 0, False)):
                turned = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
                gap = abs(pixel(picture, *(robots["start"][k] + turned @ [ahead, aside])) - colour).max()
                assert (gap < 0.01) == hull


def test_both_worlds_give_the_same_picture_of_an_episode():
    reference, tensors = make_env("numpy", dtype=torch.float64), make_env("torch", dtype=torch.float64)
    reference.reset()
    tensors.reset_with_eval_configs(reference.episode_data())
    difference = reference.render(SIDE).astype(int) - tensors.render(SIDE)
    assert abs(difference).max() <= 1
    assert reference.render(SIDE).std() > 10


def test_water_is_darker_where_it_is_faster_and_vessels_pale_when_they_end():
    env = make_env("torch", num_obs=8)
    env.reset()
    x, y = env.episode_data()[0]["env"]["cores"]["positions"][0]
    ring = [pixel(env.render(SIDE)[0], x + dx, y).sum() for dx in (0.6, 6.0)]
    assert ring[0] < ring[1]
    data = env.rollout(120, lambda data: data.set(("agents", "action"), torch.ones(2, 3, 2)))
    ended = data["next", "agents", "terminated"][:, -1, :2, 0]
    assert ended.any()
    red = (abs(env.render(SIDE) / 255 - rgb(colours.ALARM)).max(-1) < 0.05).any((1, 2))
    collided = (data["next", "agents", "outcome"][:, -1, :2, 0] % 2 == 1).any(1)  # collision, and after it
    np.testing.assert_array_equal(red, collided)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_nothing_is_drawn_before_a_reset_or_too_small(backend):
    with pytest.raises(RuntimeError, match="call reset first"):
        make_env(backend).render()
    with pytest.raises(ValueError, match="side is 4; allowed are 16 and more"):
        make_env(backend).render(side=4)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_the_recorder_of_torchrl_films_it(backend, tmp_path):
    recorder = VideoRecorder(CSVLogger("run", log_dir=str(tmp_path), video_format="pt"), tag="fleet")
    env = TransformedEnv(make_env(backend), Compose(PixelRenderTransform(side=32), recorder))
    check_env_specs(env)
    recorder.dump()
    env.rollout(6)
    recorder.dump(suffix="again")
    (film,) = tmp_path.rglob("*again*.pt")
    frames = torch.load(film)
    assert frames.shape[:3] == (1, 7, 3)  # the start and six steps
    assert (frames[0, 0] != frames[0, -1]).any()


@pytest.mark.slow
def test_pictures_come_from_other_processes():
    def make():
        return TransformedEnv(make_env("torch"), PixelRenderTransform(side=32))

    env = ParallelEnv(2, make)
    assert env.rollout(3)["pixels"].shape == (2, 2, 3, 32, 32, 3)
    env.close()
