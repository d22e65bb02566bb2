"""Collectors on a Ray cluster of this machine: what the schedule says, whatever is killed meanwhile."""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import torchrl_gpu.api  # noqa: F401 - and with it TorchRL, which must not find the Ray that is played
from tests.e2e.test_kill_and_resume import CONFIG
from tests.e2e.test_ray import PATIENCE, children, finish, run_folder, start, wait_for
from tests.unit.fake_ray import FakeRay
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.evaluation import batched

ROOT = Path(__file__).parents[2]
KEYS = {
    "agent_type": "DQN",
    "num_envs": 4,
    "backend": "torch",
    "total_timesteps": 400,
    "eval_freq": 400,
    "collectors": 2,
    "weights_every": 2,
    "checkpoint_every": 40,
}
DONE = {"timesteps": 404, "updates": 91}


def results(run):
    """Everything the run leaves that does not depend on the clock."""
    folder = run / "seed_5"
    files = [folder / "evaluations.npz", *folder.glob("*.pth"), folder / "finished.json"]
    files += [path for path in (folder / "csv").rglob("*.csv") if path.parent.name != "speed"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps(CONFIG | KEYS))
    return "config.json"


def in_one_process(patch, config):
    """What the run leaves if nothing happens; collectors here depend on nothing but the seed."""
    with patch.context() as here:
        fake = FakeRay()
        fake.is_initialized = lambda: True
        here.setitem(sys.modules, "ray", fake)
        assert train_torchrl_gpu.main(["-C", config, "--quiet"]) == 0
    run_folder().rename("whole")
    return results(Path("whole"))


@pytest.fixture
def expected(config, monkeypatch):
    pytest.importorskip("ray")
    return in_one_process(monkeypatch, config)


def collectors_of(driver):
    """Processes of collectors, which are called by what they are doing."""
    found = []
    for process in psutil.Process(driver.pid).children(recursive=True):
        with suppress(psutil.Error):
            found += [process] * " ".join(process.cmdline()).startswith("ray::Collector")
    return found


def checkpoint():
    return run_folder() and list((run_folder() / "seed_5" / "checkpoints").glob("checkpoint-*"))


def test_a_cluster_gives_the_numbers_of_collectors_in_one_process(config, monkeypatch, capfd):
    pytest.importorskip("ray")
    monkeypatch.setattr(batched, "EPISODE_LIMIT", 10)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the collectors
    expected = in_one_process(monkeypatch, config)
    before = signal.getsignal(signal.SIGTERM)
    assert train_torchrl_gpu.main(["-C", config]) == 0
    assert signal.getsignal(signal.SIGTERM) == before
    lines = capfd.readouterr().out.splitlines()
    assert sum(line.startswith("timestep ") for line in lines) == 2
    assert "Run finished" in lines
    assert results(run_folder()) == expected
    assert json.loads((run_folder() / "seed_5" / "finished.json").read_text()) == DONE


@pytest.mark.slow
def test_a_killed_collector_is_replaced(config):
    pytest.importorskip("ray")
    driver = start("-C", config, "total_timesteps=4000", "eval_freq=4000")
    wait_for(checkpoint, driver)
    collectors_of(driver)[0].kill()
    output = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode == 0, output
    assert "was lost (ActorDiedError); the others go on until another is there\n" in output
    done = json.loads((run_folder() / "seed_5" / "finished.json").read_text())
    assert done == {"timesteps": 4004, "updates": 991}
    working = (run_folder() / "seed_5" / "csv" / "scalars" / "collect" / "collectors.csv").read_text()
    assert working.splitlines()[-1].endswith(",2.0")


@pytest.mark.slow
def test_a_collector_that_hangs_is_replaced(config):
    pytest.importorskip("ray")
    driver = start("-C", config, "total_timesteps=4000", "eval_freq=4000", "collector_timeout=20")
    wait_for(checkpoint, driver)
    victim = collectors_of(driver)[0]
    victim.suspend()
    output = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode == 0, output
    assert "was lost (no answer for 20 s); the others go on until another is there\n" in output
    assert not victim.is_running()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["SIGINT", "SIGTERM", "terminal", "driver", "raylet"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(fault, config, expected):
    driver = start("-C", config)
    wait_for(checkpoint, driver)
    collectors = collectors_of(driver)
    assert len(collectors) == 2
    if fault == "terminal":  # tells all processes of the session
        os.killpg(driver.pid, signal.SIGINT)
    elif fault == "driver":
        driver.kill()
    elif fault == "raylet":
        children(driver, "raylet")[0].kill()
    else:
        driver.send_signal(getattr(signal, fault))
    output = driver.communicate(timeout=PATIENCE)[0]
    psutil.wait_procs(collectors, timeout=PATIENCE)
    assert not any(each.is_running() for each in collectors)
    assert driver.returncode != 0, output
    if fault in ("SIGINT", "SIGTERM", "terminal"):
        assert "interrupted; to go on from timestep " in output
    finish("--resume", str(run_folder()), "--quiet")
    assert results(run_folder()) == expected


@pytest.mark.slow
def test_a_sweep_on_a_cluster_has_collectors_there_too(config, expected):
    finish("-C", config, "--ray", "--quiet", "num_cpus=0.5")
    assert results(run_folder()) == expected


@pytest.mark.slow
def test_what_no_cluster_has_room_for_is_refused(config):
    pytest.importorskip("ray")
    process = start("-C", config, "--ray", "collectors=999")
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 2
    line = f"key 'collectors': 999 and the trial take 1000 cores of the cluster, which has {os.cpu_count()}"
    assert line in output
    assert not Path("runs").exists()
