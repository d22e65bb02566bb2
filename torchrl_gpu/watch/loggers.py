"""Where the scalars of a run go: CSV files in its folder always, and TensorBoard or W&B where chosen."""

import io
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torchrl.record.loggers import CSVLogger, Logger, TensorboardLogger, WandbLogger

from agents.settings import Section, key
from marinenav_env.files import replacing
from torchrl_gpu.evaluation.metrics import SHOWN, Metrics
from torchrl_gpu.evaluation.record import EvaluationRecord

CSV_FOLDER = "csv"
WALL_MINUTES = "speed/wall_minutes.csv"
PROJECT = "marinenav"


class LoggerSettings(Section):
    """Where scalars go."""

    logger: Literal["csv", "tensorboard", "wandb"] = key(
        "csv", "where scalars go; CSV is always written", legacy=False, free=True
    )

    video_every: int = key(
        0,
        "every so many evaluations, from the first on, TensorBoard gets a video of an episode; 0: none",
        legacy=False,
        free=True,
        ge=0,
        le=1_000_000,
    )

    def check_installed(self) -> None:
        """Refuse, by a ValueError, a logger that is not; package, module and value have the same name."""
        if self.video_every and self.logger != "tensorboard":
            raise ValueError(f'key \'video_every\': {self.video_every} needs "logger" to be "tensorboard"')
        if self.logger != "csv" and find_spec(self.logger) is None:
            raise ValueError(
                f"key 'logger': \"{self.logger}\" is not installed; pip install {self.logger}, "
                'or choose "csv", which is always written'
            )


class ScalarLog:
    """Writes scalars to every logger of a trial.

    CSV files, lines of ``timestep,value``, lie in ``csv/scalars`` below its folder, TensorBoard's in
    ``tensorboard``. TensorBoard and W&B are also told the keys of the config; what each trial came to stands
    beside them on TensorBoard's page of hyperparameters.
    """

    def __init__(self, folder: Path, settings: LoggerSettings, config: Mapping[str, Any]) -> None:
        self.loggers: list[Logger] = [CSVLogger(CSV_FOLDER, log_dir=str(folder))]
        for unused in ("videos", "texts"):
            (folder / CSV_FOLDER / unused).rmdir()
        if settings.logger == "tensorboard":
            self.loggers.append(TensorboardLogger("tensorboard", log_dir=str(folder)))
            self._write_hyperparameters(dict(config))
        elif settings.logger == "wandb":
            name = f"{folder.parent.name}-{folder.name}"  # the same when a run is resumed, so that it goes on
            self.loggers.append(WandbLogger(name, log_dir=str(folder), project=PROJECT, id=name))
            self.loggers[-1].log_hparams(dict(config))

    def __call__(self, scalars: Mapping[str, float], timestep: int) -> None:
        """Write named scalars of one timestep, if the disk takes them."""
        for logger in self.loggers:
            with suppress(OSError):  # a full disk, which checkpoints and results tell of
                logger.log_metrics(dict(scalars), step=timestep)

    def video(self, name: str, frames: np.ndarray, timestep: int, per_second: int) -> None:
        """Write a video, uint8 (T, H, W, 3), among the images of TensorBoard, if the disk takes it."""
        for logger in self.loggers:
            if isinstance(logger, TensorboardLogger):
                with suppress(OSError):
                    image = moving_image(name, frames, per_second)
                    logger.experiment.file_writer.add_summary(image, timestep)

    def close(self, finished: bool) -> None:
        """Write what is pending, and whether the trial has come to its end."""
        for logger in self.loggers:
            with suppress(OSError):
                if isinstance(logger, TensorboardLogger) and finished:
                    *_, end = summary_of_hyperparameters({}, {})
                    logger.experiment.file_writer.add_summary(end)
                logger.close()
        for file in self.loggers[0].experiment.files.values():  # TorchRL leaves them open
            with suppress(OSError):
                file.close()

    def _write_hyperparameters(self, config: dict[str, Any]) -> None:
        # Not by TorchRL's log_hparams, which takes no lists, writes into another folder and names no metric.
        plain = {
            name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for name, value in config.items()
        }
        names = [each.name for each in SHOWN.values()]
        metrics = {f"eval/{name}": 0.0 for name in names}  # the last of its values counts
        experiment, start, _ = summary_of_hyperparameters(plain, metrics)
        for each in (experiment, start):
            self.loggers[-1].experiment.file_writer.add_summary(each)


def summary_of_hyperparameters(config: dict[str, Any], metrics: dict[str, float]) -> tuple:
    """What TensorBoard's page of hyperparameters reads: experiment, start and end of a trial."""
    return torch.utils.tensorboard.summary.hparams(config, metrics)  # TensorboardLogger has imported it


def moving_image(name: str, frames: np.ndarray, per_second: int) -> Any:
    """A video, uint8 (T, H, W, 3), as TensorBoard takes it."""
    # Not by TorchRL's log_video: what it calls needs moviepy below 2.
    from tensorboard.compat.proto.summary_pb2 import Summary

    first, *others = (Image.fromarray(frame).quantize(64) for frame in frames)
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=1000 // per_second, loop=0)
    height, width = frames.shape[1:3]
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=file.getvalue())
    return Summary(value=[Summary.Value(tag=name, image=image)])


def rewind(folder: Path, timestep: int, record: EvaluationRecord) -> None:
    """Let the CSV files of a trial say what they said at a timestep, so that a resumed run goes on from it.

    That is the first timestep that the resumed run makes. Rows of training are labelled by the timestep that
    follows them, rows of evaluations by their own; the series of those in the record are written anew.
    """
    scalars = folder / CSV_FOLDER / "scalars"
    made = set(record.timesteps)
    for path in scalars.rglob("*.csv"):
        of_evaluations = path.parent.name == "eval" or path == scalars / WALL_MINUTES
        rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        # The last line may be torn: it has no end, or not both numbers.
        steps = {row: int(row.partition(",")[0]) for row in rows if row.endswith("\n")}
        kept = (row for row, step in steps.items() if (step in made if of_evaluations else step <= timestep))
        _write(path, kept)
    write_evaluations(folder, record)


def write_evaluations(folder: Path, record: EvaluationRecord) -> None:
    """Write the series of all evaluations of a trial, as far as they follow from their record."""
    series: dict[str, list[str]] = {}
    for k, timestep in enumerate(record.timesteps):
        for name, value in evaluation_scalars(record.metrics(k)).items():
            series.setdefault(name, []).append(f"{timestep},{value}\n")
    for name, rows in series.items():
        path = folder / CSV_FOLDER / "scalars" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, rows)


def evaluation_scalars(metrics: Metrics) -> dict[str, float]:
    """Every metric that there is; travel time (s) and energy (N s) if any episode succeeded."""
    values = metrics._asdict()
    return {f"eval/{each.name}": values[key] for key, each in SHOWN.items() if values[key] is not None}


def _write(path: Path, rows: Iterable[str]) -> None:
    with replacing(path, "w") as file:
        file.writelines(rows)
