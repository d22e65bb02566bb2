"""The check of a GPU as a command, on the CPU, with tiny sizes."""

import json
from pathlib import Path

import pytest

import torchrl_gpu.evaluation.batched
from scripts import marinenav
from scripts.measuring import gpu, parity

SIZES = "--agents DQN --num-envs 4 --world-envs 2 --seconds 0.01 --recipe-timesteps 400"
WORDS = ["gpu-check", *SIZES.split()]


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is written; episodes are short and few, and so is the quickstart."""
    monkeypatch.setattr(torchrl_gpu.evaluation.batched, "EPISODE_LIMIT", 2)
    for name in ("STEPS", "UPDATES"):
        monkeypatch.setattr(parity, name, 2)
    for name, value in {"EPISODES": 3, "CONFIGS": tmp_path}.items():
        monkeypatch.setattr(gpu, name, value)
    for name in ("quickstart.json", "ac_iqn.json"):
        written = json.loads((gpu.ROOT / "config" / name).read_text())
        short = {"learning_starts": 200, "batch_size": 8, "update_every": 64}
        (tmp_path / name).write_text(json.dumps(written | short))
    return tmp_path / "report.json"


def test_every_part_is_done_and_written(report: Path, capsys: pytest.CaptureFixture) -> None:
    assert marinenav.main([*WORDS, "-o", str(report)]) == 0
    written = json.loads(report.read_text())
    parts = written["parts"]
    assert list(parts) == list(gpu.PARTS)
    assert all(part["seconds"] > 0 and not part["failed"] for part in parts.values())
    without_gpu = {"tests"}
    assert {name for name, part in parts.items() if not part["rows"]} == without_gpu
    assert {row["measure"] for row in parts["learners"]["rows"]} == {
        "update",
        "training",
        "collection",
        "evaluation",
    }
    assert parts["world-parity"]["rows"][0]["equal outcomes"] == 1
    assert parts["recipe"]["rows"][0]["episodes"] == 3
    assert {each["verdict"] for each in written["goals"]} == {"not measured"}
    tables = report.with_suffix(".md").read_text()
    assert tables in capsys.readouterr().out
    assert tables.count("\n## ") == len(parts)


def test_a_part_that_fails_says_so_and_the_next_goes_on(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("CUDA error:\nno kernel image")

    monkeypatch.setattr(parity, "worlds", broken)
    words = ["-o", str(report), "--parts", "world-parity", "machine"]
    assert marinenav.main([*WORDS, *words]) == 1
    assert "failed: world: RuntimeError: CUDA error: no kernel image" in report.with_suffix(".md").read_text()
    assert json.loads(report.read_text())["parts"]["machine"]["rows"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-D", "tpu"], "device 'tpu' is unknown"),
        (["-o", "missing/report.json"], "the folder missing does not exist"),
        (["-o", "report.txt"], "report.txt: unknown kind of output"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert marinenav.main(["gpu-check", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
