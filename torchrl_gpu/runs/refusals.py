"""What is refused before a run writes anything."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torchrl_gpu.program import called_as
from torchrl_gpu.ranks import Ranks
from torchrl_gpu.settings.parse import ConfigError, Trial

Check = Callable[[Trial, int], None]
"""Raises ConfigError for a trial that cannot be run; called with how many run at a time."""


def check_device(name: str, where: str = "argument -D/--device") -> None:
    """Refuse a device, named by ``where``, that torch does not know or that this machine does not have."""
    import torch  # seconds: help, version and config errors do not wait for it

    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    known = device is not None and (device.type == "cuda" or device == torch.device("cpu"))
    if not known:
        raise ConfigError(f"{where}: device {name!r} is unknown; allowed are cpu, cuda and cuda:N")
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        missing = " that torch can use, as it is built without CUDA" if torch.version.cuda is None else ""
        raise ConfigError(
            f"{where}: device {name!r} is not available; this machine has {count} CUDA device(s){missing}; "
            "cpu is always there"
        )


def check_model(trial: Trial) -> None:
    """Refuse a trial whose ``load_model`` is not a model folder of its agent."""
    if trial["load_model"] is None:
        return
    from agents.agent import Agent
    from agents.models.files import ModelFileError

    try:
        Agent(agent_type=trial["agent_type"], training=False).load_model(trial["load_model"])
    except ModelFileError as error:
        raise ConfigError(f"key 'load_model': {error}") from error


@contextmanager
def agreed(ranks: Ranks) -> Iterator[None]:
    """What is refused within the block on one rank, by a ConfigError, is refused on all."""
    refusal = ""
    try:
        yield
    except ConfigError as error:
        refusal = str(error)
    for said in filter(None, ranks.gathered(refusal)):
        raise ConfigError(said)


def refuse(error: ConfigError) -> int:
    """Say what is wrong with the input; returns the exit status."""
    print(": ".join(filter(None, (called_as.get(), "error", str(error)))), file=sys.stderr)
    return 2
