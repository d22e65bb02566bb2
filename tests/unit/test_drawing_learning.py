"""Learning curves: what is averaged, what is a gap, which trials share a curve."""

import json
from pathlib import Path

import numpy as np
import pytest

from scripts.command_line import InputError
from scripts.drawing.learning import Curve, curves_of, curves_of_runs, learning_curves, mean_of, spread_of
from torchrl_gpu.evaluation.record import EvaluationRecord

CONFIG = {"agent_type": "AC-IQN", "eval_freq": 10, "lr": 1e-4}


def write_trial(folder: Path, seed: int, evaluations: list, **config: object) -> None:
    """Trial folder; ``evaluations`` holds (timestep, rewards, successes, times) per evaluation."""
    folder.mkdir(parents=True)
    record = EvaluationRecord()
    for timestep, rewards, successes, times in evaluations:
        record.timesteps.append(timestep)
        record.rewards.append(rewards)
        record.successes.append(successes)
        record.times.append(times)
        record.energies.append([1000.0 * time for time in times])
        for key in ("observations", "actions", "trajectories", "relations"):
            getattr(record, key).append([[[]] for _ in rewards])
    record.save(folder)
    (folder / "trial_config.json").write_text(json.dumps({"seed": seed, **CONFIG, **config}))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two seeds, three evaluations; nothing succeeds in the first, only seed 1 in the second."""
    tail = (30, [5.0, 7.0], [True, True], [20.0, 30.0])
    first = (10, [-1.0, -3.0], [False, False], [500.0, 500.0])
    write_trial(tmp_path / "seed_0", 0, [first, (20, [0.0, 0.0], [False, False], [400.0, 400.0]), tail])
    write_trial(tmp_path / "seed_1", 1, [first, (20, [2.0, 4.0], [True, False], [40.0, 400.0]), tail])
    return tmp_path


def test_time_and_energy_count_successful_episodes_only_and_leave_gaps(run: Path) -> None:
    """Defect T15: -1 s stood for "no success" and was averaged with real times."""
    (curve,) = curves_of(run)
    np.testing.assert_array_equal(curve.values("time"), [[np.nan, np.nan, 25.0], [np.nan, 40.0, 25.0]])
    np.testing.assert_array_equal(mean_of(curve.values("time")), [np.nan, 40.0, 25.0])
    np.testing.assert_array_equal(mean_of(curve.values("energy")), [np.nan, 40.0, 25.0])
    assert mean_of(curve.values("return")).tolist() == [-2.0, 1.5, 6.0]
    assert mean_of(curve.values("success")).tolist() == [0.0, 0.25, 1.0]


def test_spread_is_the_population_deviation_over_seeds_with_a_value() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    np.testing.assert_allclose(spread_of(values, "std"), [1.0, 0.0, np.nan])
    np.testing.assert_allclose(spread_of(values, "sem"), [1.0 / np.sqrt(2), 0.0, np.nan])


def test_line_breaks_where_there_is_no_value_and_single_points_are_seen(run: Path) -> None:
    figure = learning_curves(curves_of(run / "seed_0"))
    line, dots = figure.axes[2].get_lines()
    assert np.isnan(line.get_ydata()[:2]).all()
    assert dots.get_xydata().tolist() == [[30.0, 25.0]]


def test_trials_that_differ_in_more_than_the_seed_are_different_curves(run: Path) -> None:
    write_trial(run / "fast" / "seed_0", 0, [(10, [0.0], [True], [9.0])], lr=0.01)
    curves = curves_of(run)
    assert sorted((curve.label, len(curve.trials)) for curve in curves) == [
        ("AC-IQN, lr 0.0001", 2),
        ("AC-IQN, lr 0.01", 1),
    ]


def test_equal_labels_are_told_apart_by_their_folders(run: Path) -> None:
    curves = curves_of_runs([(None, run / "seed_0"), (None, run / "seed_1"), ("mine", run)])
    assert [curve.label for curve in curves] == ["AC-IQN (seed_0)", "AC-IQN (seed_1)", "mine"]


def test_trials_without_a_common_timestep_are_refused(run: Path) -> None:
    write_trial(run / "seed_2", 2, [(15, [0.0], [False], [1.0])])
    with pytest.raises(InputError, match="never evaluated at the same timestep"):
        curves_of_runs([(None, run)])


def test_curve_ends_where_the_shortest_trial_does(run: Path) -> None:
    write_trial(run / "seed_2", 2, [(10, [0.0], [False], [1.0]), (20, [0.0], [False], [1.0])])
    (curve,) = curves_of(run, "mine")
    assert (curve.label, curve.timesteps().tolist()) == ("mine", [10, 20])
    assert curve.values("return").shape == (3, 2)


def keep_minutes(trial: Path, *rows: str) -> None:
    path = trial / "csv" / "scalars" / "speed" / "wall_minutes.csv"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def test_over_minutes_each_evaluation_is_at_its_mean_wall_time(run: Path) -> None:
    keep_minutes(run / "seed_0", "10,0.5", "20,1.5", "30,2.5")
    keep_minutes(run / "seed_1", "10,0.7", "20,2.5", "30,3.5")
    (curve,) = curves_of_runs([(None, run)], "minutes")
    figure = learning_curves([curve], over="minutes")
    np.testing.assert_allclose(figure.axes[0].get_lines()[0].get_xdata(), [0.6, 2.0, 3.0])
    assert figure.axes[2].get_xlabel() == "wall time in minutes"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "does not hold the time"),
        (("10,0.5", "20,1.5"), "does not hold the time"),
        (("10",), "not timesteps"),
    ],
)
def test_minutes_that_are_missing_or_torn_are_refused(run: Path, rows: tuple, message: str) -> None:
    keep_minutes(run / "seed_0", *rows)
    with pytest.raises(InputError, match=message):
        curves_of_runs([(None, run / "seed_0")], "minutes")


def test_first_curve_is_drawn_on_top(run: Path) -> None:
    curves = [Curve("a", curves_of(run)[0].trials), Curve("b", curves_of(run)[0].trials)]
    first, _, second, _ = learning_curves(curves).axes[0].get_lines()
    assert first.get_zorder() > second.get_zorder()


@pytest.mark.parametrize("spread", ["sem", "std"])
def test_legend_names_every_curve_and_the_band(run: Path, spread: str) -> None:
    figure = learning_curves(curves_of(run), spread)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0] == "AC-IQN"
    assert "over 2 seeds" in texts[1]
    assert ("error" in texts[1]) == (spread == "sem")


def test_folders_without_evaluations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no evaluations\.npz in this folder or below"):
        curves_of(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        curves_of(tmp_path / "nowhere")
    (tmp_path / "evaluations.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(InputError, match=r"evaluations\.npz"):
        curves_of(tmp_path)
    write_trial(tmp_path / "words", 0, [(10, ["good"], [True], [1.0])])
    with pytest.raises(InputError, match=r"evaluations\.npz: not evaluation results"):
        curves_of(tmp_path / "words")
    (tmp_path / "words/trial_config.json").write_text("[]")
    with pytest.raises(InputError, match=r"trial_config\.json: must hold an object, holds a list"):
        curves_of(tmp_path / "words")
    EvaluationRecord().save(tmp_path)
    with pytest.raises(InputError, match="holds no evaluation yet"):
        curves_of(tmp_path)
