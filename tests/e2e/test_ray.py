"""A sweep on a Ray cluster of this machine: the results of one without, whatever is killed meanwhile."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.e2e.test_kill_and_resume import CONFIG
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.ranks import VARIABLES
from torchrl_gpu.runs import cluster
from torchrl_gpu.runs.listing import list_runs

ROOT = Path(__file__).parents[2]
SEEDS = ("seed_5", "seed_6")
PATIENCE = 300  # s, on a machine that is busy otherwise


def main(*arguments):
    try:
        return train_torchrl_gpu.main(arguments)
    except SystemExit as stop:  # argparse
        return stop.code


def start(*arguments):
    """The command in a process, and a session, of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "torchrl_gpu.train_torchrl_gpu", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def finish(*arguments):
    process = start(*arguments)
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, output
    return output


def wait_for(found, process):
    """What a function finds, once it finds something, while a process runs."""
    end = time.monotonic() + PATIENCE
    while not (result := found()):
        assert time.monotonic() < end
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    return result


def run_folder():
    return next(Path("runs").glob("*"), None)


def results(run, names=SEEDS):
    """Everything the trials leave that does not depend on the clock."""
    found = {}
    for folder in (run / name for name in names):
        files = [folder / "evaluations.npz", *folder.glob("*.pth"), folder / "finished.json"]
        files += [path for path in (folder / "csv").rglob("*.csv") if path.parent.name != "speed"]
        found |= {str(path.relative_to(run)): path.read_bytes() for path in files}
    return found


def of_one(all_results, name):
    """Those of one trial."""
    return {path: content for path, content in all_results.items() if Path(path).parts[0] == name}


def fill(path):
    """Let a file take what there is of its disk."""
    with suppress(OSError), open(path, "ab", buffering=0) as file:
        while True:
            file.write(bytes(2**12))


def children(driver, title):
    """Processes below the driver whose command line begins with a title."""
    below = psutil.Process(driver.pid).children(recursive=True)
    lines = {}
    for process in below:
        try:
            lines[process] = " ".join(process.cmdline())
        except psutil.Error:
            continue
    return [process for process, line in lines.items() if line.split(" ")[0].endswith(title)]


def checkpoint_of(name):
    return lambda: run_folder() and list((run_folder() / name / "checkpoints").glob("checkpoint-*"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the sweep leaves without Ray."""
    pytest.importorskip("ray")
    here = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("expected"))
    try:
        Path("config.json").write_text(json.dumps(CONFIG | {"seed": [5, 6]}))
        finish("-C", "config.json", "--quiet")
        return results(run_folder())
    finally:
        os.chdir(here)


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps(CONFIG | {"seed": [5, 6]}))
    return "config.json"


# ---- refusals


def test_without_ray_one_line_says_what_to_install(config, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main("-C", config, "--ray") == 2
    assert capsys.readouterr().err == (
        "error: argument --ray: Ray is not installed; pip install marinenav[ray]\n"
    )
    assert not Path("runs").exists()


def test_a_cluster_that_does_not_start_is_told_in_one_line(config, monkeypatch, capsys):
    def init(address, **options):
        raise Exception("The current node timed out during startup.\nSee the logs.")  # as Ray does

    fake = SimpleNamespace(remote=lambda **options: lambda function: function, init=init, shutdown=int)
    monkeypatch.setattr(cluster, "of_ray", lambda address, most: cluster.RayWorkers(fake, address, most))
    assert main("-C", config, "--ray") == 2
    assert capsys.readouterr().err == (
        "error: argument --ray: no cluster at 'local': The current node timed out during startup.\n"
    )
    assert not Path("runs").exists()


def test_a_key_behind_the_flag_is_no_address():
    args = train_torchrl_gpu.parse(["-C", "c.json", "--ray", "seed=0..3", "tau=1"])
    assert (args.ray, args.overrides) == ("local", ["seed=0..3", "tau=1"])
    args = train_torchrl_gpu.parse(["-C", "c.json", "tau=1", "--ray", "10.0.0.1:6379", "-P", "3"])
    assert (args.ray, args.overrides, args.num_procs) == ("10.0.0.1:6379", ["tau=1"], 3)


def test_ranks_and_ray_are_not_for_each_other(config, monkeypatch, capsys):
    for name, value in zip(VARIABLES, "0202", strict=True):
        monkeypatch.setenv(name, value)
    assert main("-C", config, "--ray") == 2
    assert "arguments -P and --ray: not allowed with torchrun" in capsys.readouterr().err


def test_a_gpu_is_not_chosen_twice(config, capsys):
    pytest.importorskip("ray")
    assert main("-C", config, "--ray", "-D", "cuda:1") == 2
    assert "-D/--device: 'cuda:1' is not allowed with --ray" in capsys.readouterr().err


@pytest.mark.slow
def test_what_no_machine_has_is_refused(config):
    pytest.importorskip("ray")
    process = start("-C", config, "--ray", "num_cpus=1000")
    line = process.communicate(timeout=PATIENCE)[0]
    assert f"key 'num_cpus': 1000 is more than any machine of the cluster has, {os.cpu_count()}\n" in line
    assert process.returncode == 2
    assert not Path("runs").exists()


# ---- sweeps


@pytest.mark.slow
def test_a_sweep_leaves_what_it_leaves_without_ray(config, expected):
    lines = finish("-C", config, "--ray").splitlines()
    assert results(run_folder()) == expected
    for name in SEEDS:
        assert sum(line.startswith(f"{name}: timestep ") for line in lines) == 3
        assert f"{name}: Run finished" in lines


@pytest.mark.slow
def test_a_killed_worker_is_replaced_by_one_that_goes_on_from_the_last_checkpoint(config, expected):
    driver = start("-C", config, "--ray", "--quiet")
    wait_for(checkpoint_of("seed_6"), driver)
    (worker,) = children(driver, "ray::seed_6")
    worker.kill()
    output = driver.communicate(timeout=PATIENCE)[0]
    assert (  # and Ray has something to say
        "trial seed_6: its worker was lost (WorkerCrashedError); "
        "another one goes on from its last checkpoint\n"
    ) in output
    assert driver.returncode == 0
    assert results(run_folder()) == expected


@pytest.mark.slow
def test_a_trial_that_hangs_is_replaced_too(config, expected):
    driver = start("-C", config, "--ray", "--quiet", "trial_timeout=30")
    wait_for(checkpoint_of("seed_6"), driver)
    (worker,) = children(driver, "ray::seed_6")
    worker.suspend()
    output = driver.communicate(timeout=PATIENCE)[0]
    assert (
        "trial seed_6: its worker was lost (no step for 30 s); another one goes on from its last checkpoint\n"
    ) in output
    assert driver.returncode == 0
    assert not worker.is_running()
    assert results(run_folder()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_saves_and_goes_on(number, config, expected):
    driver = start("-C", config, "--ray")
    wait_for(checkpoint_of("seed_5"), driver)
    driver.send_signal(number)
    output = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode == 1
    assert "seed_5: interrupted; to go on from timestep " in output
    assert output.endswith("2 of 2 trials did not finish: seed_5, seed_6\n")
    finish("--resume", str(run_folder()), "--ray", "--quiet")
    assert results(run_folder()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["driver", "raylet"])
def test_a_sweep_whose_cluster_dies_goes_on(victim, config, expected):
    driver = start("-C", config, "--ray")
    wait_for(checkpoint_of("seed_5"), driver)
    workers = [each for name in SEEDS for each in children(driver, f"ray::{name}")]
    if victim == "driver":
        driver.kill()
    else:
        (raylet,) = children(driver, "raylet")
        raylet.kill()
    driver.communicate(timeout=PATIENCE)  # without a raylet it may come to its end all the same
    psutil.wait_procs(workers, timeout=PATIENCE)
    assert not any(each.is_running() for each in workers)
    finish("--resume", str(run_folder()), "--quiet")
    assert results(run_folder()) == expected


@pytest.mark.slow
def test_a_trial_that_raises_leaves_the_others_alone_as_without_ray(config, expected):
    driver = start("-C", config, "--ray", "--quiet")
    wait_for(checkpoint_of("seed_6"), driver)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=PATIENCE)
    for checkpoint in (run_folder() / "seed_6" / "checkpoints").iterdir():
        checkpoint.write_bytes(b"nothing that can be used")
    shutil.copytree(run_folder(), "without")
    told = []
    for run, flags in ((Path("without"), ("-P", "2")), (run_folder(), ("--ray",))):
        process = start("--resume", str(run), "--quiet", *flags)
        lines = process.communicate(timeout=PATIENCE)[0].replace(str(run), "RUN").splitlines()
        assert process.returncode == 1
        told.append([line.removeprefix("seed_6: ") for line in lines if "seed_6" in line])
        assert results(run, ["seed_5"]) == of_one(expected, "seed_5")
        assert (run / "seed_6" / "failure.txt").exists()
    assert told[0] == told[1]
    *_, failure, summary = told[0]
    assert failure.startswith("trial seed_6 failed: NoUsableCheckpointError: none of ")
    assert summary == "1 of 2 trials did not finish: seed_6"


@pytest.mark.slow
def test_a_trial_whose_disk_is_full_ends_in_one_line_and_goes_on_when_there_is_space(config, expected):
    Path(config).write_text(json.dumps(CONFIG | {"save_dir": ["small", "runs"]}))
    disk = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", "small"]
    Path("small").mkdir()
    if shutil.which("mount") is None or subprocess.run(disk, capture_output=True).returncode:
        pytest.skip("cannot mount a file system")
    try:
        driver = start("-C", config, "--ray", "--quiet")
        wait_for(lambda: list(Path("small").glob("*/seed_5/checkpoints/checkpoint-*")), driver)
        others = Path("small/others")
        while driver.poll() is None:  # what it gives back is taken at once
            fill(others)
            time.sleep(0.02)
        output = driver.communicate(timeout=PATIENCE)[0]
        assert driver.returncode == 1
        *warnings, failure, summary = output.splitlines()
        (small,) = Path("small").glob("training_*")
        assert failure.startswith("seed_5: trial seed_5 failed: OSError: the results could not be written: ")
        assert f"; there is no space left: make some, then marinenav train --resume {small}/seed_5" in failure
        assert summary == "1 of 2 trials did not finish: seed_5"
        assert output.count(" failed: ") == 1
        assert any(line.startswith("seed_5: no checkpoint at timestep ") for line in warnings)
        assert results(run_folder(), ["seed_5"]) == of_one(expected, "seed_5")
        others.unlink()
        finish("--resume", str(small), "--ray", "--quiet")
        assert results(small, ["seed_5"]) == of_one(expected, "seed_5")
    finally:
        subprocess.run(["umount", "--lazy", "small"], check=True)


@pytest.mark.slow
def test_a_search_stops_trials_early(config):
    pytest.importorskip("ray.tune")
    Path(config).write_text(json.dumps(CONFIG | {"total_timesteps": 1600, "eval_freq": 100}))
    keys = ('learning_rate={"loguniform":[1e-5,1e-2]}', "samples=4", 'scheduler="asha"', "-P", "2")
    finish("-C", config, "--ray", *keys)
    states = [info.state for info in list_runs([run_folder()])]
    assert sorted(set(states)) == ["finished", "stopped"]
    before = {info.folder: info.timesteps for info in list_runs([run_folder()])}
    assert max(before.values()) == 1601
    assert "4 of 4 trials are finished" in finish("--resume", str(run_folder()), "--ray")
    assert before == {info.folder: info.timesteps for info in list_runs([run_folder()])}
