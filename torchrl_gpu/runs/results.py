"""Whether the results of a finished trial are still there."""

from pathlib import Path

from agents.models.files import ModelFileError
from agents.models.folder import load_agent
from torchrl_gpu.evaluation.npz import EvaluationFileError, check_whole
from torchrl_gpu.evaluation.record import FILE_NAME, EvaluationRecord
from torchrl_gpu.settings.parse import Trial
from torchrl_gpu.watch.loggers import write_evaluations


def lost_results(folder: Path, trial: Trial) -> str | None:
    """What is wrong with the evaluations or the model of a finished trial, or None.

    The series of its evaluations follow from them, and are written anew.
    """
    expected = trial.schedule.evaluations()
    if not expected:
        return None
    try:
        check_whole(folder / FILE_NAME)
        record = EvaluationRecord.load(folder, histories=False)
        load_agent(folder, agent_type=trial["agent_type"])
    except (EvaluationFileError, ModelFileError) as error:
        return str(error)
    if record.timesteps != expected:
        return f"{folder / FILE_NAME} has the evaluations at {record.timesteps}, not at {expected}"
    write_evaluations(folder, record)
    return None
