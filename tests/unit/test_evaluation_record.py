"""``evaluations.npz``: legacy nesting, atomic writing, and a reader that runs no code."""

import io
import os
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.evaluation.packed import PackedRows
from torchrl_gpu.evaluation.record import HISTORIES, KEYS, EvaluationFileError, EvaluationRecord


def result(robots: int, steps: int, success: bool = False) -> EpisodeResult:
    return EpisodeResult(
        reward=np.float64(-1.5 * robots),
        success=success,
        time=np.float64(0.5 * steps),
        energy=np.float64(100.0 * steps),
        observations=[
            [[[0.1] * 7, [[1.0, 2.0, 3.0, 4.0, 5.0]] * k]] * steps + [[None, None]] for k in range(robots)
        ],
        actions=[[[0.25, np.float64(-0.5)]] * steps for _ in range(robots)],
        trajectories=[[[float(i) for i in range(13)]] * (steps + 1) for _ in range(robots)],
        outcomes=["reach goal" if success else "collision"] * robots,
    )


def record(*episode_lengths: int) -> EvaluationRecord:
    made = EvaluationRecord()
    for timestep in (80, 120):
        made.append(timestep, [result(2, steps, success=steps > 3) for steps in episode_lengths])
    return made


@pytest.mark.parametrize("lengths", [(3,), (4, 4), (2, 5, 1)], ids=str)
def test_what_is_written_is_read(tmp_path, lengths):
    made = record(*lengths)
    assert EvaluationRecord.load(made.save(tmp_path)) == made
    assert EvaluationRecord.load(tmp_path) == made


def test_legacy_readers_find_the_legacy_nesting(tmp_path):
    made = record(2, 5)
    with np.load(made.save(tmp_path), allow_pickle=True) as archive:
        assert set(archive.files) == set(KEYS)
        assert archive["timesteps"].tolist() == [80, 120]
        for key in ("rewards", "successes", "times", "energies"):
            assert archive[key].shape == (2, 2)
        assert archive["trajectories"][1][0][1][2] == made.trajectories[1][0][1][2]
        assert archive["observations"][-1][-1][0][-1] == [None, None]
        assert archive["relations"][0][1] == [[], []]
        assert all(archive[key].dtype == object for key in KEYS)


def test_arrays_of_any_regular_shape_are_read(tmp_path):
    """The legacy writer let NumPy make the arrays as deep as the data is regular (Defect T13)."""
    made = record(4, 4)
    path = tmp_path / "evaluations.npz"
    np.savez(path, **{key: np.array(getattr(made, key), dtype=object) for key in KEYS})
    assert EvaluationRecord.load(path) == made


def test_files_without_outcomes_are_read_and_can_go_on(tmp_path):
    """Those of the legacy pipeline, and older ones of this."""
    made = record(2, 5)
    path = tmp_path / "evaluations.npz"
    np.savez(path, **{key: made._array(key) for key in KEYS if key != "outcomes"})
    old = EvaluationRecord.load(path)
    assert old.outcomes == [[[], []], [[], []]]
    old.append(200, [result(1, 2), result(2, 2, success=True)])
    assert EvaluationRecord.load(old.save(tmp_path)).outcomes[1:] == [
        [[], []],
        [["collision"], ["reach goal", "reach goal"]],
    ]


def test_relations_nest_by_robot_where_no_histories_are_kept(tmp_path):
    made = EvaluationRecord()
    bare = replace(result(3, 2), observations=[], actions=[], trajectories=[])
    made.append(80, [bare, bare])
    assert EvaluationRecord.load(made.save(tmp_path)).relations == [[[[], [], []]] * 2]


def test_numeric_arrays_are_read_without_a_pickle(tmp_path):
    made = record(4, 4)
    path = made.save(tmp_path)
    arrays = {key: made._array(key) for key in KEYS} | {"rewards": np.array(made.rewards, dtype=float)}
    np.savez(path, **arrays)
    assert EvaluationRecord.load(path).rewards == made.rewards


def test_a_failed_write_leaves_the_previous_file(tmp_path, monkeypatch):
    made = record(3)
    path = made.save(tmp_path)
    before = path.read_bytes()
    made.append(200, [result(2, 3)])

    def torn(rows, file):
        file.write(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(PackedRows, "write_array", torn)
    with pytest.raises(OSError, match="disk full"):
        made.save(tmp_path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["evaluations.npz"]


def test_a_record_read_from_its_file_can_go_on(tmp_path):
    made = record(3, 4)
    resumed = EvaluationRecord.load(made.save(tmp_path))
    for each in (made, resumed):
        each.append(200, [result(2, 3), result(2, 2)])
    resumed.save(tmp_path)
    assert EvaluationRecord.load(tmp_path) == made == resumed


def test_metrics_are_read_without_the_histories(tmp_path):
    made = record(3)
    metrics = EvaluationRecord.load(made.save(tmp_path), histories=False)
    assert metrics.rewards == made.rewards
    assert all(len(getattr(metrics, key)) == 0 for key in HISTORIES)


def test_packed_rows_read_as_the_lists_they_hold():
    shared = [1.5, np.float64(2.5)]
    rows = [[[shared, shared], []], [[["text", None]], [np.int64(3)]]]
    packed = PackedRows(rows)
    assert packed == rows
    assert rows == packed
    assert packed == PackedRows(rows)
    assert packed != rows[:1]
    assert packed != PackedRows([rows[1], rows[0]])
    assert packed[-1] == rows[-1]
    assert isinstance(packed[0][0][0][1], np.float64)
    assert list(packed) == rows
    with pytest.raises(IndexError):
        packed[2]


@pytest.mark.parametrize("count", [1, 2, 3, 3000])
def test_packed_rows_are_written_as_numpy_writes_them(count):
    rows = [[[float(k), np.float64(k)], [k]] for k in range(count)]
    file = io.BytesIO()
    PackedRows(rows).write_array(file)
    file.seek(0)
    array = np.load(file, allow_pickle=True)
    assert array.shape == (count, 2)
    assert array.dtype == object
    assert array.tolist() == rows
    assert isinstance(array[-1, 0][1], np.float64)


class Runs:
    """Unpickling this calls ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


def write_member(path, key, payload: bytes) -> None:
    made = record(3)
    made.save(path.parent)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    members[f"{key}.npy"] = header.getvalue() + payload
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch pwned",), "posix.system"),
        (eval, ("1",), "builtins.eval"),
        (getattr, ("", "join"), "builtins.getattr"),
        (np.load, ("x.npy",), "numpy.load"),
        (np.fromfile, ("x",), "numpy.fromfile"),
        (os.remove, ("victim",), "posix.remove"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("inside_array", [True, False])
def test_malicious_pickles_are_refused_and_not_run(
    tmp_path, monkeypatch, function, arguments, named, inside_array
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "victim").touch()
    hostile = Runs(function, *arguments)
    if inside_array:
        array = np.empty(2, dtype=object)
        array[:] = [[1], 2]
        array[0].append(hostile)
        hostile = array
    path = tmp_path / "evaluations.npz"
    write_member(path, "actions", pickle.dumps(hostile, protocol=4))
    with pytest.raises(EvaluationFileError) as caught:
        EvaluationRecord.load(path)
    assert named.split(".")[-1] in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "victim").exists()
    assert not (tmp_path / "pwned").exists()


def test_a_pickle_that_is_no_array_is_refused(tmp_path):
    path = tmp_path / "evaluations.npz"
    write_member(path, "rewards", pickle.dumps([1, 2]))
    with pytest.raises(EvaluationFileError, match="holds a list"):
        EvaluationRecord.load(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: np.savez(path, weights=np.zeros(3)), "timesteps"),
        (lambda path: path.write_text("{}"), "cannot be read"),
        (lambda path: write_member(path, "times", b"\x80\x04garbage"), "cannot be read"),
        (
            lambda path: write_member(path, "times", pickle.dumps(np.array([1], dtype=object))),
            "unequal length",
        ),
        (lambda path: write_member(path, "times", pickle.dumps(np.array([1, 2], dtype=object))), "'times'"),
    ],
    ids=["missing", "torn", "empty", "foreign npz", "text", "torn pickle", "short", "flat"],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, damage, message):
    path = record(3).save(tmp_path)
    damage(path)
    with pytest.raises(EvaluationFileError, match=message) as caught:
        EvaluationRecord.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_best_evaluation_is_that_of_the_highest_return():
    made = record(2, 5)
    made.append(200, [result(1, 2), result(1, 3)])  # less success, more return
    made.append(240, [result(1, 2), result(1, 3)])
    assert made.best == 2


def test_summary_tells_the_last_and_the_best_evaluation_and_the_folder(tmp_path):
    made = record(2, 5)
    made.append(200, [result(2, 2), result(2, 3)])
    text = made.summary(tmp_path)
    assert "timestep 200, 2 episode(s)" in text
    assert "success rate      0.00" in text
    assert "no episode succeeded" in text
    assert "timestep 80: success 0.50, return -3.00" in text
    assert str(tmp_path) in text


def test_summary_averages_time_and_energy_over_successes_only(tmp_path):
    text = record(2, 5).summary(tmp_path)
    assert "mean travel time  2.5 s" in text
    assert "mean energy       500.0 N s" in text


def test_summary_without_evaluation(tmp_path):
    assert "without an evaluation" in EvaluationRecord().summary(tmp_path)
