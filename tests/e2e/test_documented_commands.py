"""Every command in the documentation and every example of a help runs, on shortened runs and configs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import config
import torchrl_gpu.evaluation.batched
import torchrl_gpu.evaluation.fleets
import torchrl_gpu.evaluation.one_by_one
from scripts import export, marinenav, vrx_experiment_config
from tests.e2e.test_shipped_configs import SHORT, SHORT_THROUGHPUT
from torchrl_gpu import train_torchrl_gpu
from torchrl_gpu.torchrl_trainer import TorchRLTrainer

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "torchrl_gpu" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS.remove(ROOT / "docs" / "bad_inputs.md")  # whose commands must fail, see test_bad_inputs.py
RUN = Path("runs", "training_STAMP")


def commands() -> list[str]:
    """Commands in shell blocks, and those between backquotes in the text, each once."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for block in re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            found += [line.partition(" #")[0].strip() for line in block.replace("\\\n", " ").splitlines()]
        quoted = re.findall(r"`((?:pytest|python3?|pip|make|marinenav \w+|marinenav-train) [^`]+)`", text)
        found += [command.replace("\n", " ") for command in quoted]  # whose line the text may break
    return [command for command in dict.fromkeys(found) if command]


def examples() -> list[str]:
    """The examples of every command and script, as the help of `marinenav` shows them."""
    words = {command.module: f"marinenav {word}" for word, command in marinenav.COMMANDS.items()}
    names = [f"scripts.{path.stem}" for path in sorted((ROOT / "scripts").glob("*.py"))]
    found = []
    for name in [*names, "torchrl_gpu.train_torchrl_gpu"]:
        script = name if name.startswith("torchrl_gpu") else f"scripts/{name.rpartition('.')[2]}.py"
        lines = getattr(import_module(name), "EXAMPLES", "").splitlines()
        shown = [line.strip() for line in lines if line.startswith("  python ")]
        for way in (f"python {script}", f"python -m {script}"):
            shown = [line.replace(way, words.get(name, way)) for line in shown]
        found += shown
    return found


def python_blocks() -> list[str]:
    """Python in the documentation."""
    texts = [document.read_text(encoding="utf-8") for document in DOCUMENTS]
    return [b for text in texts for b in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the commands name: shortened configs, a stopped run, a traced model, VRX results."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "config").mkdir()
    for path in (ROOT / "config").glob("*.json"):
        written = json.loads(path.read_text(encoding="utf-8"))
        written |= SHORT | {key: value for key, value in SHORT_THROUGHPUT.items() if key in written}
        written["eval_schedule"]["num_episodes"] = [2] * len(written["eval_schedule"]["num_episodes"])
        (folder / "config" / path.name).write_text(json.dumps(written), encoding="utf-8")
    (folder / "scripts").symlink_to(ROOT / "scripts")
    start = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchrl_gpu.evaluation.one_by_one, "EPISODE_LIMIT", 10)
        patch.setattr(torchrl_gpu.evaluation.batched, "EPISODE_LIMIT", 10)
        patch.setattr(torchrl_gpu.evaluation.fleets, "EPISODE_LIMIT", 10)
        patch.chdir(folder)
        patch.setattr(config, "__file__", str(folder / "config" / "__init__.py"))
        stopped_run(patch)
        assert export.main(["-M", str(RUN / "seed_0")]) == 0
        vrx_results(Path("vrx_results"))
        if find_spec("onnxruntime"):
            assert export.main(["--zoo", "sac", "--format", "onnx"]) == 0
        yield folder
    assert Path.cwd() == start


def stopped_run(patch: pytest.MonkeyPatch) -> None:
    """Train ``config/ac_iqn.json`` for seed 0 into `RUN`, stopped after the first evaluation."""
    advance = TorchRLTrainer._advance

    def stop(self: TorchRLTrainer, directory: Path) -> None:
        advance(self, directory)
        if self.timestep == 130:
            os.kill(os.getpid(), 15)

    written = json.loads(Path("config/ac_iqn.json").read_text()) | {"seed": 0, "save_dir": "runs"}
    Path("one_seed.json").write_text(json.dumps(written))
    with patch.context() as stopping:
        stopping.setattr(TorchRLTrainer, "_advance", stop)
        assert train_torchrl_gpu.main(["-C", "one_seed.json", "--quiet"]) == 1
    (run,) = Path("runs").iterdir()
    run.rename(RUN)
    shutil.copytree(RUN, RUN.with_name("training_OTHER"))
    best = RUN / "seed_0" / "best"  # as runs outside reproduction mode have
    best.mkdir()
    for path in (RUN / "seed_0").glob("*_params.*"):
        shutil.copy(path, best)


def vrx_results(folder: Path) -> None:
    """Results of a VRX experiment of 301 samples."""
    folder.mkdir()
    assert vrx_experiment_config.main(["--robots", "1", "-o", str(folder / "vrx_exp_config.json")]) == 0
    record = {
        "timestamps": {"wamv1": [0.5 * k for k in range(301)]},
        "poses": {"wamv1": [[-480.0 + 0.05 * k, 240.0, 0, 0, 0, 1] for k in range(301)]},
        "velocities": {"wamv1": [[0.1, 0.0]] * 301},
    }
    (folder / "vrx_exp_traj.json").write_text(json.dumps(record))


def run(command: str) -> None:
    """Run a command, or check what can be checked of one that takes minutes or changes the machine.

    Raises:
        AssertionError: It does not work, or no way to run it is known here.
    """
    if command in NOT_RUN_HERE:
        return
    program, *arguments = shlex.split(SHORTER.sub(lambda found: SHORTER_WORDS[found[0]], command))
    program = program.removeprefix(".venv/bin/")
    if program == "make":
        run_make(*arguments)
    elif program == "pytest" or arguments[:2] == ["-m", "pytest"]:
        check_tests(arguments[arguments.index("pytest") + 1 :] if "pytest" in arguments else arguments)
    elif command.startswith(TESTED_ELSEWHERE):
        word = Path(arguments[0]).stem
        import_module(marinenav.COMMANDS[word].module).build_parser().parse_args(arguments[1:])
    elif program == "marinenav":
        assert marinenav.main(arguments) == 0
    elif program == "marinenav-train" or arguments[:2] == ["-m", "torchrl_gpu.train_torchrl_gpu"]:
        assert train_torchrl_gpu.main(arguments if program != "python" else arguments[2:]) == 0
    else:
        assert program == "python", f"no test runs {command!r}"
        run_script(Path(arguments[0]), arguments[1:])


TORCHRUN = "torchrun --nproc-per-node 8 -m torchrl_gpu.train_torchrl_gpu"
NOT_RUN_HERE = {
    "python3 -m venv .venv": "what `make` does, see run_make",
    '.venv/bin/python -m pip install --editable ".[dev]"': "what `make` does, see run_make",
    "source .venv/bin/activate": "changes the shell; there is no such environment here",
    "marinenav compare-policies ORCA APF sac ours=runs/training_STAMP/seed_0 -P 2 -o comparison": "takes "
    "minutes; smaller below it, and in test_compare_policies.py",
    "pip install tensorboard": "needs the network",
    'pip install "marinenav[ray]"': "needs the network",
    "marinenav train -C config/ac_iqn.json --fast seed=0..9 --ray": "needs Ray, see test_ray.py",
    "marinenav train -C config/ac_iqn.json --fast seed=0..9 --ray 10.0.0.1:6379 -D cuda": "a cluster",
    "marinenav train --resume runs/training_STAMP --ray": "needs Ray, see test_ray.py",
    "marinenav train -C config/ac_iqn.json --fast collectors=4": "needs Ray, see test_collectors.py",
    "marinenav train -C config/ac_iqn.json --fast collectors=4 --ray 10.0.0.1:6379": "a cluster",
    f"{TORCHRUN} -C config/fast_sac.json -D cuda": "needs GPUs, see test_ranks.py",
    f"{TORCHRUN} --resume runs/training_STAMP -D cuda": "needs GPUs, see test_ranks.py",
    "python scripts/scaling.py sweep num_envs=64 backend=torch --turns 2": "needs Ray, and takes minutes",
    "python scripts/scaling.py sweep num_envs=64 backend=torch --turns 2 --timesteps 14000": "needs Ray, and "
    "takes minutes",
    "python scripts/scaling.py collectors num_envs=256 --timesteps 2000": "needs Ray, and takes minutes",
    "python scripts/scaling.py ranks num_envs=256": "takes minutes",
    'pip install "marinenav[faces]"': "needs the network",
    'pip install "marinenav[sb3]"': "needs the network",
    "pip download --no-deps -d wheels": "needs the network",
    "python -m pip install --no-deps wheels/*.whl": "changes the environment",
    "python -m scripts.gpu_check -D cuda -o h100.json": "the command above, without an installation",
    'pip install "marinenav[export]"': "needs the network",
    "python examples/mappo.py -o mappo.csv": "takes minutes; shorter in test_transforms.py",
    "python examples/sac.py --every 80 -o sac.csv": "takes minutes; shorter in test_transforms.py",
    "python3 -m venv marl": "BenchMARL's, with another TorchRL, see test_benchmarl.py",
    "marl/bin/pip install benchmarl scipy": "the same",
    "PYTHONPATH=. marl/bin/python examples/benchmarl/run.py mappo": "the same",
    'T=$(python -c "import torch; print(torch.__path__[0])")': "see test_planner.py",
    "g++ -std=c++20 -O2 examples/planner.cpp -I$T/include -I$T/include/torch/csrc/api/include -L$T/lib "
    "-ltorch -ltorch_cpu -lc10 -Wl,-rpath,$T/lib -o planner": "see test_planner.py",
    'printf "20 -3 1 0 0 200 200\\n8 1 0 0 1\\n" | ./planner traced_SAC_model.pt': "see test_planner.py",
    "marinenav train -C config/quickstart.json logger=tensorboard seed=0..2": "see test_dashboards.py",
    "tensorboard --logdir runs": "a server; what it reads is looked at in test_dashboards.py",
    "python -m torchrl_gpu.settings": "what it writes is compared in test_config.py",
}
"""Commands, and why they are not run; an installed wheel is tried in test_wheel.py."""


SHORTER_WORDS = {
    " -D cuda:0": "",
    " -D cuda": "",
    " -P 4": "",
    " --ray 10.0.0.1:6379": "",
    " --per-stage 100": " --per-stage 2",
    " --until 60000": " --until 120",
    "total_timesteps=1e5": "total_timesteps=2e2",
    "num_envs=16 seed=0..2 total_timesteps=1800000": "num_envs=16 seed=0 total_timesteps=200",
    "seed=0..9": "seed=0,1",
    "seed=0..4": "seed=0",
    "seed=0..3": "seed=0",
    "-C config/iqn.json": "-C one_seed.json",
}
"""What stands here for words that take longer or need more."""
SHORTER = re.compile("|".join(map(re.escape, SHORTER_WORDS)))

EXTRAS = {"gymnasium": "gymnasium", "pettingzoo": "envs.pettingzoo", "onnxruntime": "onnxruntime"}
"""Packages that not everyone has, and the word in a Python block that needs one."""

TESTED_ELSEWHERE = (
    "marinenav compare-policies ORCA APF ours",
    "marinenav compare-policies traced",
    "marinenav compare-policies iqn ORCA",
    "marinenav spread --until",
    "marinenav reproduce",
    "marinenav benchmark",
    "marinenav gpu-check",
    "marinenav zoo --take",
    "marinenav export --zoo sac --format onnx",
    "python scripts/benchmark.py",
)
"""Commands that take long, of which only the arguments are looked at here."""


def run_make(target: str, *variables: str) -> None:
    """Let make say what it would do: install as documented, then the documented command."""
    shown = subprocess.run(
        ["make", "--no-print-directory", "-n", "-B", target, *variables],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-m venv .venv" in shown.stdout
    assert re.search(r'-m (uv )?pip install --quiet .*--editable "\.\[dev\]"', shown.stdout)
    assert ('".[faces]"' in shown.stdout) == ((target, variables) == ("test", ()))
    last = shown.stdout.splitlines()[-1]
    ends = {
        "train": "marinenav quickstart",
        "test": 'python -m pytest -n 2 --dist loadfile -m "not (forks or slow or benchmark)"',
        "lint": "python -m ruff format --check .",
        "docs": "python -m mkdocs build --strict",
    }
    target, _, kind = target.partition("-")  # test-lowest has an environment of its own
    assert last.endswith(f"{'-'.join(filter(None, ('.venv', kind)))}/bin/{ends[target]}")


def check_tests(arguments: list[str]) -> None:
    """Tests named in the documentation are there, with the marker that is asked for."""
    for argument in arguments:
        if argument.endswith(".py"):
            source = (ROOT / argument).read_text(encoding="utf-8")
            assert "-m" not in arguments or f"mark.{arguments[arguments.index('-m') + 1]}" in source


def run_script(path: Path, arguments: list[str]) -> None:
    """Run a script's main."""
    assert path.parent.name == "scripts"
    assert path.is_file()
    assert import_module(f"scripts.{path.stem}").main(arguments) == 0


@pytest.mark.parametrize("command", commands())
def test_a_documented_command_runs(command: str, workplace: Path) -> None:
    before = set(workplace.iterdir())
    run(command)
    written = re.search(r"-o (\S+)", command)
    if written and command not in NOT_RUN_HERE and not command.startswith(TESTED_ELSEWHERE):
        assert (workplace / written[1]).exists()
        assert set(workplace.iterdir()) - before <= {workplace / written[1]}


@pytest.mark.slow
@pytest.mark.parametrize("command", [example for example in examples() if example not in commands()])
def test_an_example_of_a_help_runs(command: str, workplace: Path) -> None:
    test_a_documented_command_runs(command, workplace)


def test_what_is_not_run_is_still_documented() -> None:
    known = {*commands(), *examples()}
    assert not set(NOT_RUN_HERE) - known
    assert all(any(command.startswith(start) for command in known) for start in TESTED_ELSEWHERE)


@pytest.mark.parametrize(
    "command", ["python scripts/no_such_script.py", "python -m torchrl_gpu.no_such_module", "cargo run"]
)
def test_a_command_nobody_knows_is_noticed(command: str, workplace: Path) -> None:
    with pytest.raises((AssertionError, KeyError)):
        run(command)


@pytest.mark.parametrize("source", python_blocks())
def test_documented_python_prints_what_it_says(
    source: str, capsys: pytest.CaptureFixture, workplace: Path
) -> None:
    for extra, word in EXTRAS.items():
        if word in source:
            pytest.importorskip(extra)
    exec(compile(source, "README.md", "exec"), {})
    said = re.findall(r"^ *print\(.*\)  # (.*)$", source, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == said


def test_commands_and_blocks_are_found() -> None:
    assert "make train" in commands()
    assert len(commands()) > 15
    assert python_blocks()


@pytest.mark.slow
def test_the_documented_test_command_finds_the_tests() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "tests/unit/test_config.py::" in done.stdout
