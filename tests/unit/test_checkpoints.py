"""Checkpoints: a run that stops and goes on is the run that never stopped; bad ones are refused."""

import json
import zipfile
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import torchrl_gpu.evaluation.batched
import torchrl_gpu.evaluation.one_by_one
from marinenav_env.envs import MarineNavEnv3
from torchrl_gpu.collect.plain_steps import PlainSteps
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.experiment import build_trainer
from torchrl_gpu.runs.checkpoint import Checkpoints, NoUsableCheckpointError
from torchrl_gpu.runs.folder import CHECKPOINTS
from torchrl_gpu.runs.interruption import Interrupted
from torchrl_gpu.seeding import Generators
from torchrl_gpu.settings.parse import make_trials
from torchrl_gpu.watch.progress import Verbosity

CONFIG = {
    "seed": 34,
    "total_timesteps": 130,
    "eval_freq": 80,
    "save_dir": "unused",
    "training_schedule": {
        "timesteps": [0, 40],
        "num_robots": [2, 3],
        "num_cores": [0, 1],
        "num_obstacles": [0, 1],
        "min_start_goal_dis": [8.0, 20.0],
    },
    "eval_schedule": {
        "num_episodes": [1],
        "num_robots": [2],
        "num_cores": [0],
        "num_obstacles": [1],
        "min_start_goal_dis": [8.0],
    },
    "imitation_learning": False,
    "agent_type": "DQN",
    "learning_starts": 50,
    "target_update_interval": 60,
    "batch_size": 4,
    "buffer_size": 150,
}
FAST = {"num_envs": 4, "backend": "torch", "eval_freq": 1000}


@pytest.fixture(autouse=True)
def _short_evaluations(monkeypatch):
    """Evaluation episodes of 21 steps at most: what an untrained agent does for 1001 proves no more."""
    for module in (torchrl_gpu.evaluation.one_by_one, torchrl_gpu.evaluation.batched):
        monkeypatch.setattr(module, "EPISODE_LIMIT", 20)


def trial_of(**changes):
    (trial,) = make_trials({**CONFIG, **changes})
    return trial


def start(trial, folder, device="cpu"):
    """A trainer, and what saves and restores it, with the lines it warns with."""
    folder.mkdir(exist_ok=True)
    trainer = build_trainer(trial, device, folder, Verbosity.QUIET)
    warnings = []
    keys = trial.checkpoints, trial.identity
    return trainer, Checkpoints(trainer, *keys, folder, folder / CHECKPOINTS, warnings.append), warnings


def run(trial, folder, *stops):
    """Run to the end; at each stop leave everything but the folder behind and go on from its checkpoint."""
    for stop in (*stops, None):
        trainer, checkpoints, warnings = start(trial, folder)
        assert checkpoints.restore() == (checkpoints.folder.exists() and stop != stops[0])

        def between_steps(trainer=trainer, checkpoints=checkpoints, stop=stop):
            if stop is not None and trainer.timestep >= stop:
                assert checkpoints.save()
                raise Interrupted

        try:
            trainer.learn(folder, between_steps)
        except Interrupted:
            continue
    assert warnings == []
    return trainer, states_of(checkpoints)


def states_of(checkpoints):
    """Everything but the evaluations."""
    states = checkpoints.trainer.state_dict()
    del states["progress"]["minutes"]  # of the clock on the wall
    return states


def differences(a, b, where=""):
    """Paths at which two nested states differ in any bit."""
    if isinstance(a, Mapping):
        if a.keys() != b.keys():
            return [f"{where}: keys"]
        return [path for key in a for path in differences(a[key], b[key], f"{where}/{key}")]
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return [f"{where}: length"]
        pairs = enumerate(zip(a, b, strict=True))
        return [path for k, (x, y) in pairs for path in differences(x, y, f"{where}/{k}")]
    if isinstance(a, torch.Tensor):
        equal = a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
    else:
        equal = np.array_equal(a, b, equal_nan=isinstance(a, float))
    return [] if equal else [where]


RUNS = {
    "AC-IQN": {"agent_type": "AC-IQN"},
    "Rainbow": {"agent_type": "Rainbow"},
    "DQN": {},
    "many environments": {**FAST, "agent_type": "SAC", "observation_scale": True, "record_histories": False},
    "many environments, n steps": {**FAST, "agent_type": "DDPG", "bootstrap_steps": 3, "average_tau": 0.1},
    "many environments, prioritised": {
        **FAST,
        "agent_type": "AC-IQN",
        "prioritized_replay": True,
        "exploring_envs": 0.5,
        "collision_penalty": -12,
    },
    "many environments, Rainbow": {**FAST, "agent_type": "Rainbow"},
    "many NumPy worlds": {**FAST, "backend": "numpy", "agent_type": "IQN"},
}


@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS)
def test_a_run_that_stops_and_goes_on_is_the_run_that_never_stopped(changes, tmp_path):
    trial = trial_of(**changes)
    whole, state = run(trial, tmp_path / "whole")
    parts, resumed = run(trial, tmp_path / "parts", 30, 95)  # before the first update, and after
    assert differences(state, resumed) == []
    assert whole.record.rewards == parts.record.rewards
    assert whole.updates == parts.updates > 10
    assert len(whole.record) == 2 - ("num_envs" in changes)
    for path in (tmp_path / "whole").glob("*.pth"):
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()
    npz = [(tmp_path / name / "evaluations.npz").read_bytes() for name in ("whole", "parts")]
    assert npz[0] == npz[1]


def test_a_forgotten_part_is_noticed(tmp_path, monkeypatch):
    trial = trial_of()
    _, state = run(trial, tmp_path / "whole")
    monkeypatch.setattr(Generators, "load_state_dict", lambda self, state: None)
    _, resumed = run(trial, tmp_path / "parts", 60)
    assert any(path.startswith("/generators") for path in differences(state, resumed))


# ---- the world


def steps(env, number):
    seen = []
    for t in range(number):
        if t == 5:
            seen.append(env.reset())
        actions = [[0.3, 1.0 - 0.2 * i] for i in range(len(env.robots))]
        seen.append(env.step(actions))
    return seen


def test_a_world_goes_on_from_its_snapshot_draw_for_draw():
    schedule = CONFIG["training_schedule"]
    env, other = (MarineNavEnv3(seed, schedule) for seed in (3, 4))
    env.verbose = other.verbose = False
    env.total_timesteps = 50
    env.reset()
    env.rd.standard_normal()  # leaves the second normal of a pair behind
    env.step([[1.0, 1.0]] * len(env.robots))
    other.load_state_dict(json.loads(json.dumps(env.state_dict(), default=lambda array: array.tolist())))
    for robot in other.robots:  # JSON knows no arrays
        for name, value in vars(env.robots[0]).items():
            if isinstance(value, np.ndarray):
                setattr(robot, name, np.array(getattr(robot, name)))
    assert other.rd.get_state()[3] == 1
    assert differences(steps(env, 10), steps(other, 10)) == []


def test_robots_behind_one_that_left_the_water_get_their_own_observations():
    policy = SimpleNamespace(agent=SimpleNamespace(continuous=True))
    env = SimpleNamespace(world=SimpleNamespace(worlds=[None]), max_robots=3)
    steps = PlainSteps(env, policy, lap=None)
    numbers = torch.arange(19, dtype=torch.float64)
    steps.load_state_dict({"sizes": torch.tensor([0, -1, 1]), "numbers": numbers})
    expected = numbers.tolist()
    assert steps._observations == [(expected[:7], []), (None, None), (expected[7:14], [expected[14:]])]


# ---- saving


def saved(tmp_path, *stops, **changes):
    """Checkpoints of a run at each stop, which has not come to its end."""
    trial = trial_of(checkpoint_keep=3, **changes)
    folder = tmp_path / "run"
    trainer, checkpoints, warnings = start(trial, folder)

    def between_steps():
        if trainer.timestep in stops:
            assert checkpoints.save()
        if trainer.timestep == stops[-1]:
            raise Interrupted

    with pytest.raises(Interrupted):
        trainer.learn(folder, between_steps)
    return trial, folder, trainer, checkpoints, warnings


def test_the_last_few_are_kept(tmp_path):
    _, folder, *_ = saved(tmp_path, 5, 10, 15, 20)
    names = [path.name for path in sorted((folder / "checkpoints").iterdir())]
    assert names == [f"checkpoint-{t:012d}.torchrl" for t in (10, 15, 20)]


def test_when_a_checkpoint_is_due(tmp_path):
    trainer, checkpoints, _ = start(trial_of(**FAST, checkpoint_every=10), tmp_path / "run")
    due = []
    for trainer.timestep in range(4, 45, 4):
        due += [trainer.timestep] * checkpoints.due
    assert due == [12, 20, 32, 40]
    checkpoints.every = 0
    assert not checkpoints.due


def test_saving_nothing_new_writes_nothing(tmp_path):
    _, folder, _, checkpoints, _ = saved(tmp_path, 20)
    (path,) = (folder / "checkpoints").iterdir()
    path.unlink()
    assert checkpoints.save()
    assert not list((folder / "checkpoints").iterdir())


def test_a_disk_that_fills_up_while_writing_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    _, folder, trainer, checkpoints, warnings = saved(tmp_path, 20)
    monkeypatch.setattr(zipfile.ZipFile, "write", full)
    trainer.timestep = 24
    assert not checkpoints.save()
    assert warnings == ["no checkpoint at timestep 24: [Errno 28] No space left on device"]
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["checkpoint-000000000020.torchrl"]


# ---- bad checkpoints


def cut(path):
    path.write_bytes(path.read_bytes()[:-5000])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def text(path):
    path.write_text("not a checkpoint")


def empty(path):
    path.write_bytes(b"")


def other_manifest(path, **changes):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | changes).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def newer_format(path):
    other_manifest(path, format_version=99)


def no_metadata(path):
    other_manifest(path, metadata={})


def no_components(path):
    other_manifest(path, components={})


def a_folder(path):
    path.unlink()
    path.mkdir()


def foreign_member(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.bin", b"0" * 1000)


def member_outside(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../network_params.pth", b"")


def compressed(path):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def earlier_layout(path):
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read("manifest.json"))["metadata"]
    del metadata["layout"]
    other_manifest(path, metadata=metadata)


SPOILERS = (
    *(cut, flip, text, empty, newer_format, no_metadata, no_components, a_folder),
    *(foreign_member, member_outside, compressed, earlier_layout),
)


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_bad_checkpoint_is_named_and_the_previous_one_used(spoil, tmp_path):
    trial, folder, *_ = saved(tmp_path, 20, 24)
    bad = folder / "checkpoints" / "checkpoint-000000000024.torchrl"
    spoil(bad)
    trainer, checkpoints, warnings = start(trial, folder)
    assert checkpoints.restore()
    assert trainer.timestep == 20
    (line,) = warnings
    assert line.startswith(f"checkpoint {bad} cannot be used: ")
    assert "\n" not in line
    assert bad.exists()


def test_a_checkpoint_of_another_trial_is_refused(tmp_path):
    _, folder, *_ = saved(tmp_path, 20)
    _, checkpoints, warnings = start(trial_of(agent_type="AC-IQN"), folder)
    with pytest.raises(NoUsableCheckpointError, match="none of 1 checkpoints in"):
        checkpoints.restore()
    assert "made by another trial: agent_type 'DQN', here 'AC-IQN'" in warnings[0]


def test_a_checkpoint_without_a_part_is_refused_in_one_line(tmp_path, monkeypatch):
    trial, folder, *_ = saved(tmp_path, 20)
    trainer, checkpoints, warnings = start(trial, folder)
    monkeypatch.setattr(trainer, "load_state_dict", lambda state: {}["learner"])
    with pytest.raises(NoUsableCheckpointError):
        checkpoints.restore()
    (line,) = warnings
    assert "cannot be used" in line
    assert line.endswith("'learner'")


def test_keys_that_change_nothing_may_change(tmp_path):
    _, folder, *_ = saved(tmp_path, 20)
    trainer, checkpoints, _ = start(trial_of(checkpoint_every=7, save_dir="elsewhere"), folder)
    assert checkpoints.restore()
    assert trainer.timestep == 20


def test_what_a_killed_process_left_while_saving_is_removed(tmp_path):
    trial, folder, *_ = saved(tmp_path, 20)
    (folder / "checkpoints" / ".checkpoint-000000000024.torchrl.stage-abc" / "components").mkdir(parents=True)
    (folder / "checkpoints" / ".checkpoint-000000000024.torchrl.archive-abc").write_text("half")
    _, checkpoints, warnings = start(trial, folder)
    assert checkpoints.restore()
    assert warnings == []
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["checkpoint-000000000020.torchrl"]


def test_without_any_checkpoint_a_run_begins_anew(tmp_path):
    _, checkpoints, warnings = start(trial_of(), tmp_path / "run")
    assert not checkpoints.restore()
    assert warnings == []


def test_the_evaluations_travel_in_the_checkpoint(tmp_path):
    trial, folder, trainer, *_ = saved(tmp_path, 60, 100)
    assert trainer.record.timesteps == [50, 80]
    (folder / "evaluations.npz").unlink()
    other, checkpoints, _ = start(trial, folder)
    assert checkpoints.restore()
    assert other.record.rewards == trainer.record.rewards
    assert EvaluationRecord.load(folder) == trainer.record  # it is written back
    (folder / "checkpoints" / "checkpoint-000000000100.torchrl").unlink()
    other, checkpoints, _ = start(trial, folder)
    assert checkpoints.restore()
    assert other.record.timesteps == [50]
    assert isinstance(other.record, EvaluationRecord)


def test_a_lost_model_is_made_again_from_before_the_last_evaluation(tmp_path):
    trial, folder, *_ = saved(tmp_path, 60, 100)
    (folder / "network_params.pth").unlink()
    trainer, checkpoints, warnings = start(trial, folder)
    assert checkpoints.restore()
    assert trainer.timestep == 60
    assert "behind the last evaluation, whose model is lost" in warnings[0]
    (folder / "checkpoints" / "checkpoint-000000000060.torchrl").unlink()
    with pytest.raises(NoUsableCheckpointError):
        start(trial, folder)[1].restore()


# ---- full disks


def full(*args, **kwargs):
    raise OSError(28, "No space left on device")


def test_a_run_goes_on_while_its_results_cannot_be_written(tmp_path, monkeypatch, capsys):
    trial, folder = trial_of(checkpoint_keep=3), tmp_path / "run"
    trainer, checkpoints, _ = start(trial, folder)
    patch = pytest.MonkeyPatch()
    patch.setattr(EvaluationRecord, "save", full)

    def between_steps():
        if trainer.timestep == 55:  # after the first evaluation, before the second
            patch.undo()
            assert checkpoints.save()

    trainer.learn(folder, between_steps)
    said = "timestep 50: results not written, the run goes on: [Errno 28] No space left on device\n"
    assert capsys.readouterr().err == said
    assert EvaluationRecord.load(folder).timesteps == [50, 80]
    other, checkpoints, _ = start(trial, folder)
    assert checkpoints.restore()
    assert other.record.timesteps == [50]


def test_a_run_whose_last_results_cannot_be_written_fails(tmp_path, monkeypatch):
    trainer, *_ = start(trial_of(), tmp_path / "run")
    monkeypatch.setattr(type(trainer.agent), "save_latest_model", full)
    with pytest.raises(OSError, match=r"the results could not be written: .* No space left on device"):
        trainer.learn(tmp_path / "run")
    assert trainer.timestep == 131


# ---- on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("agent_type", ["AC-IQN", "SAC", "Rainbow"])
def test_a_run_on_a_gpu_is_restored_whole_and_goes_on(agent_type, tmp_path):
    """What was saved is restored; kernels that add in any order keep the rest from being bit-equal."""
    trial = trial_of(**FAST, agent_type=agent_type)
    folder = tmp_path / "run"
    trainer, checkpoints, _ = start(trial, folder, "cuda")
    while trainer.timestep < 100:
        trainer._advance(folder)
    assert checkpoints.save()
    other, others, warnings = start(trial, folder, "cuda")
    assert others.restore()
    assert warnings == []
    assert differences(states_of(checkpoints), states_of(others)) == []
    other.learn(folder)
    assert other.timestep > CONFIG["total_timesteps"]


def test_a_checkpoint_of_another_device_is_refused(tmp_path):
    trial, folder, *_ = saved(tmp_path, 20)
    _, checkpoints, warnings = start(trial, folder)
    checkpoints._made_by["device"] = "cuda"
    with pytest.raises(NoUsableCheckpointError):
        checkpoints.restore()
    assert warnings[0].endswith("made by another trial: device cpu, here cuda")
