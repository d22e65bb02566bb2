"""TensorBoard and W&B: what the real program writes is there for their own readers."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

import torchrl_gpu.evaluation.film
import torchrl_gpu.evaluation.one_by_one
from tests.e2e.test_train_cli import SMALL
from torchrl_gpu import train_torchrl_gpu


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Trains with a logger; returns the folder of the trial."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torchrl_gpu.evaluation.one_by_one, "EPISODE_LIMIT", 10)
    monkeypatch.setattr(torchrl_gpu.evaluation.film, "EPISODE_LIMIT", 10)
    Path("config.json").write_text(json.dumps(SMALL))

    def run(logger: str, *keys: str) -> Path:
        before = set(tmp_path.glob("runs/training_*/seed_3"))
        assert train_torchrl_gpu.main(["-C", "config.json", f"logger={logger}", *keys, "--quiet"]) == 0
        (made,) = set(tmp_path.glob("runs/training_*/seed_3")) - before
        return made

    return run


def series(folder: Path, name: str) -> list[str]:
    """The lines of a CSV series."""
    return (folder / "csv" / "scalars" / f"{name}.csv").read_text().split()


def last_row(folder: Path, name: str) -> tuple[int, float]:
    """The last line of a CSV series."""
    step, value = series(folder, name)[-1].split(",")
    return int(step), float(value)


def records(content: bytes) -> Iterator[bytes]:
    """The records of a file of W&B: LevelDB's log format, after a header of seven bytes."""
    place, record = 7, b""
    while place + 7 <= len(content):
        if -place % 32768 < 7:  # what is left of a block has no room for a record's header
            place += -place % 32768
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_tensorboard_shows_scalars_hyperparameters_and_what_they_came_to(train):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    folder = train("tensorboard")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    for name in ("eval/return", "eval/success", "speed/wall_minutes"):
        last = events.Scalars(name)[-1]
        assert (last.step, last.value) == pytest.approx(last_row(folder, name), rel=1e-6)

    written = events.PluginTagToContent("hparams")
    parts = {tag.rpartition("/")[2]: HParamsPluginData.FromString(text) for tag, text in written.items()}
    experiment = parts["experiment"].experiment
    keys = json.loads((folder / "trial_config.json").read_text()).keys() - {"training_time"}
    assert {info.name for info in experiment.hparam_infos} == keys
    metrics = {info.name.tag for info in experiment.metric_infos}
    assert metrics == {"eval/return", "eval/success", "eval/time", "eval/energy"}
    start = parts["session_start_info"].session_start_info.hparams
    assert start["batch_size"].number_value == 8
    assert start["agent_type"].string_value == "DQN"
    assert json.loads(start["eval_schedule"].string_value) == SMALL["eval_schedule"]
    assert parts["session_end_info"].session_end_info.status == 1  # success


def test_tensorboard_shows_an_episode_and_the_run_is_the_same(train):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = train("tensorboard", "video_every=2")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    videos = events.Images("eval/episode")
    made = [int(row.partition(",")[0]) for row in series(folder, "eval/return")]
    assert [video.step for video in videos] == made[::2]
    assert all(video.encoded_image_string.startswith(b"GIF8") for video in videos)
    assert (videos[0].width, videos[0].height) == (192, 192)
    plain = train("csv")
    assert plain != folder
    assert series(plain, "eval/return") == series(folder, "eval/return")
    assert (plain / "network_params.pth").read_bytes() == (folder / "network_params.pth").read_bytes()


def test_wandb_holds_the_config_and_what_it_came_to(train, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = train("wandb")
    (path,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    config, summary = {}, {}
    for record in map(Record.FromString, records(path.read_bytes())):
        for item in (*record.run.config.update, *record.config.update):
            config[item.key] = json.loads(item.value_json)
        for item in (*record.summary.update, *record.history.item):
            summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    assert config["batch_size"] == 8
    assert config["eval_schedule"] == SMALL["eval_schedule"]
    for name in ("eval/return", "eval/success"):
        assert (summary["eval/step"], summary[name]) == pytest.approx(last_row(folder, name), rel=1e-6)
