"""Where the scalars of a run go: CSV files in its folder always, and TensorBoard or W&B where chosen."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from torchrl.record.loggers import CSVLogger, Logger, TensorboardLogger, WandbLogger

from marinenav_env.files import replacing
from torchrl_gpu.settings.parse import ConfigError, Trial

CSV_FOLDER = "csv"
PROJECT = "marinenav"


def check_logger(trial: Trial) -> None:
    """Refuse a trial whose logger is not installed; module, pip extra and key have the same name."""
    name = trial["logger"]
    if name != "csv" and find_spec(name) is None:
        raise ConfigError(
            f"key 'logger': \"{name}\" is not installed; pip install 'marinenav[{name}]', "
            'or choose "csv", which is always written'
        )


class ScalarLog:
    """Writes scalars to every logger of a trial.

    Args:
        folder: The trial's folder. CSV files, lines of ``timestep,value``, lie in ``csv/scalars`` below it,
            TensorBoard's in ``tensorboard``.
        logger: The trial's key ``logger``.
    """

    def __init__(self, folder: Path, logger: str) -> None:
        self.loggers: list[Logger] = [CSVLogger(CSV_FOLDER, log_dir=str(folder))]
        for unused in ("videos", "texts"):
            (folder / CSV_FOLDER / unused).rmdir()
        if logger == "tensorboard":
            self.loggers.append(TensorboardLogger("tensorboard", log_dir=str(folder)))
        elif logger == "wandb":
            name = f"{folder.parent.name}-{folder.name}"  # the same when a run is resumed, so that it goes on
            self.loggers.append(WandbLogger(name, log_dir=str(folder), project=PROJECT, id=name))

    def __call__(self, scalars: Mapping[str, float], timestep: int) -> None:
        """Write named scalars of one timestep."""
        for logger in self.loggers:
            logger.log_metrics(dict(scalars), step=timestep)

    def close(self) -> None:
        """Write what is pending."""
        for logger in self.loggers:
            logger.close()


def rewind(folder: Path, timestep: int) -> None:
    """Drop what the CSV files of a trial say about later timesteps, so that a resumed run writes it once.

    Args:
        folder: The trial's folder.
        timestep: First timestep that the resumed run makes.
    """
    for path in (folder / CSV_FOLDER / "scalars").rglob("*.csv"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        # The last line may be torn: it has no end, or not both numbers.
        kept = [line for line in lines if line.endswith("\n") and int(line.partition(",")[0]) < timestep]
        with replacing(path, "w") as file:
            file.writelines(kept)
