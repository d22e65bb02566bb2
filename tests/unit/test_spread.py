"""Whether a key changes what is learned: the statistics, and the command on curves in a file."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_ind

from scripts import spread
from scripts.tabulating.reproduction import CURVE_COLUMNS

LOW, HIGH = np.array([1.0, 2.0, 3.5, 2.0]), np.array([10.0, 11.5, 12.0])


def test_the_interval_is_that_of_welch() -> None:
    told = spread.difference(HIGH, LOW, comparisons=2)
    expected = ttest_ind(HIGH, LOW, equal_var=False).confidence_interval(1 - 0.05 / 2)
    assert told.value == pytest.approx(HIGH.mean() - LOW.mean())
    assert (told.value - told.half, told.value + told.half) == pytest.approx(tuple(expected))


def test_a_permutation_counts_all_divisions() -> None:
    assert spread.permutation_p(HIGH, LOW) == pytest.approx(1 / 35)
    assert spread.permutation_p(LOW, HIGH) == pytest.approx(1 / 35)
    assert spread.permutation_p(LOW, LOW) == 1.0
    many = np.random.default_rng(1).normal(size=(2, 12))
    drawn = spread.permutation_p(many[0] + 0.8, many[1])
    assert drawn == pytest.approx(ttest_ind(many[0] + 0.8, many[1]).pvalue, abs=0.02)


def test_holm_corrects_the_smallest_most() -> None:
    assert spread.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert spread.holm([0.6, 0.7]) == [1.0, 1.0]


def test_a_curve_comes_to_its_last_third_and_its_mean_over_timesteps() -> None:
    rows = [["", "", "", str(step), str(k / 10), str(k)] for k, step in enumerate((0, 10, 20, 60, 70, 80))]
    last_return, whole_return, last_success, whole_success = spread.numbers_of(rows)
    assert (last_return, last_success) == pytest.approx((4.5, 0.45))
    assert whole_return == pytest.approx((5 + 15 + 100 + 35 + 45) / 80)
    assert whole_success == pytest.approx(whole_return / 10)


def file_of(path: Path, shift: float) -> Path:
    lines = [",".join(CURVE_COLUMNS)]
    for label, offset in (("num_envs 16", 0.0), ("num_envs 1024", shift)):
        for seed in range(6):
            for step in range(0, 100, 10):
                lines.append(f"{label},DQN,{seed},{step},0.5,{offset + step + 0.1 * seed:.3f},,")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("shift", "told"), [(0.0, "+0.00 ± 0.24, p 1.00"), (5.0, "+5.00 ± 0.24, p 0.00")])
def test_the_table_tells_what_a_key_does(
    tmp_path: Path, shift: float, told: str, capsys: pytest.CaptureFixture
) -> None:
    assert spread.main(["-o", str(file_of(tmp_path / "curves.csv", shift))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| num_envs 16 | 6 | 80.25 ± 0.08 | 45.25 ± 0.08 | 0.500 ± 0.000 |")
    assert lines[3].startswith(f"| num_envs 1024 | 6 | {80.25 + shift:.2f} ± 0.08; {told}")


def test_curves_may_be_cut(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = file_of(tmp_path / "curves.csv", 0.0)
    path.write_text(path.read_text() + "num_envs 1,DQN,0,0,0.5,0,,\nnum_envs 1,DQN,0,30,0.5,30,,\n")
    assert spread.main(["-o", str(path), "--until", "30", "--first", "num_envs 16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[1:4] for line in lines[2:4]] == [
        ["1", "30.00", "15.00"],
        ["6", "30.25 ± 0.08", "15.25 ± 0.08"],
    ]
    assert spread.main(["-o", str(path), "--until", "40"]) == 0
    assert "num_envs 1 |" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "none.csv"], "none.csv: no such file"),
        (["-o", "curves.csv", "--first", "num_envs 3"], "of DQN there are num_envs 16, num_envs 1024"),
        (["nowhere", "-o", "curves.csv"], "nowhere: no trial_config.json"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    file_of(Path("curves.csv"), 1.0)
    assert spread.main(arguments) == 2
    assert said in capsys.readouterr().err
