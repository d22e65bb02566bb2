"""One point of a sweep: an instance of every section, and what follows from all of them together."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agents.settings import Section
from torchrl_gpu.settings.errors import ConfigError, explanation
from torchrl_gpu.settings.reference import show
from torchrl_gpu.settings.sections import (
    SCHEDULES,
    ClusterSettings,
    RunSettings,
    SearchSettings,
    keys_of,
    learners,
    sections_of,
)

if TYPE_CHECKING:
    from agents.learners.base import LearnerSettings
    from torchrl_gpu.collect.policy_wrapper import PolicySettings
    from torchrl_gpu.collect.remote_steps import CollectSettings
    from torchrl_gpu.collect.tensor_steps import StepSettings
    from torchrl_gpu.collect.worlds import WorldSettings
    from torchrl_gpu.evaluation.batched import RecordSettings
    from torchrl_gpu.evaluation.one_by_one import EpisodeSettings
    from torchrl_gpu.learn.average import AverageSettings
    from torchrl_gpu.learn.scale import ScaleSettings
    from torchrl_gpu.learn.schedule import Schedule
    from torchrl_gpu.learn.update import UpdateSettings
    from torchrl_gpu.learn.ways import Ways
    from torchrl_gpu.replay.memories import ReplaySettings
    from torchrl_gpu.runs.checkpoint import CheckpointSettings
    from torchrl_gpu.seeds_together import TogetherSettings
    from torchrl_gpu.watch.loggers import LoggerSettings

TOGETHER = "seeds_together"
"""Key of a config that no trial has in its own: there it would mean the seeds that follow on it."""
NOT_IN_NAMES = ("seed", "save_dir")
"""Swept keys that a trial's folder does not spell out again: they are in its path anyway."""
STAMP = "training_time"
"""What `trial_config.json` holds beside keys: when the run began."""

UNKEPT = 0.2
"""Share of a run after its last evaluation that deserves a warning."""
SHARED = ("num_envs", "batch_size", "buffer_size")
"""Keys whose numbers are shared by processes that train together."""


@dataclass(frozen=True)
class Trial:
    """One point of a sweep.

    ``values`` is what `trial_config.json` holds: keys given in the config with lists expanded, then the two
    schedules; ``swept`` are the keys whose value differs between the trials of the config. Trials of seeds
    that are trained together have one ``leader``, the name of the first; it is empty where one is alone.
    """

    values: dict[str, Any]
    swept: tuple[str, ...]
    run: RunSettings
    update: "UpdateSettings"
    world: "WorldSettings"
    schedule: "Schedule"
    replay: "ReplaySettings"
    scale: "ScaleSettings"
    policy: "PolicySettings"
    steps: "StepSettings"
    collect: "CollectSettings"
    learner: "LearnerSettings"
    episodes: "EpisodeSettings"
    record: "RecordSettings"
    average: "AverageSettings"
    logger: "LoggerSettings"
    checkpoints: "CheckpointSettings"
    together: "TogetherSettings"
    cluster: ClusterSettings
    search: SearchSettings
    leader: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any], swept: tuple[str, ...] = ()) -> "Trial":
        """The trial of a config without sweeps; keys that its learner lacks are left out.

        Takes every required key, an existing agent type, and no unknown key. ConfigError: a value is not
        allowed, or does not fit another.
        """
        own = keys_of(values["agent_type"])
        given = {name: value for name, value in values.items() if name in own and name not in SCHEDULES}
        given |= {name: values[name] for name in SCHEDULES}
        classes = sections_of(values["agent_type"])
        sections = {name: _section(section, given) for name, section in classes.items()}
        given.pop(TOGETHER, None)
        trial = cls(given, tuple(name for name in swept if name in given), **sections)
        _check_length(trial)
        _check_prioritized(trial)
        _check_collectors(trial)
        _check_together(trial)
        return trial

    @property
    def sections(self) -> tuple[Section, ...]:
        """All sections."""
        return tuple(getattr(self, name) for name in sections_of(self.values["agent_type"]))

    def __getitem__(self, name: str) -> Any:
        """Value of a key, whichever section has it; a schedule as a dictionary of lists."""
        for section in self.sections:
            if name in type(section).model_fields:
                value = getattr(section, name)
                return value.model_dump() if isinstance(value, Section) else value
        raise KeyError(name)

    @property
    def name(self) -> str:
        """Folder name: the seed, then every other swept key (Defect T8: legacy names held the seed only)."""
        parts = [f"seed_{self.values['seed']}"]
        parts += [f"{key}_{self.values[key]}" for key in self.swept if key not in NOT_IN_NAMES]
        return re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(parts))

    @property
    def changed_throughput_keys(self) -> tuple[str, ...]:
        """Keys that take this trial out of reproduction mode."""
        return tuple(name for each in self.sections for name in each.changed(each.flagged("throughput")))

    @property
    def identity(self) -> dict[str, Any]:
        """What `trial_config.json` holds, but for keys that may change while the trial goes on."""
        free = {name for each in self.sections for name in each.flagged("free")}
        return {name: value for name, value in self.values.items() if name not in free}

    @property
    def reproduction(self) -> bool:
        """Whether the trial must give the legacy pipeline's numbers."""
        return not self.changed_throughput_keys

    @property
    def prioritized(self) -> bool:
        """Whether the replay memory is prioritised."""
        return self.replay.prioritized_replay or learners()[self.run.agent_type].prioritized

    @property
    def mode(self) -> str:
        """One line: which mode the trial is in, why, and how it would go faster."""
        if self.reproduction:
            return "reproduction mode: the legacy pipeline's numbers, step by step; faster with --fast"
        keys = ", ".join(f"{name} {show(self[name])}" for name in self.changed_throughput_keys)
        return f"throughput mode, because of {keys}"

    def of_rank(self, count: int) -> "Trial":
        """What each of several processes takes of the trial: environments, transitions kept and drawn.

        ``values`` stay, as all of them make one trial. ConfigError: it cannot be shared by so many.
        """
        if count == 1:
            return self
        if self.reproduction:
            raise ConfigError(
                f"reproduction mode gives the numbers of one process, here are {count}; "
                "leave torchrun out, or choose throughput keys, as --fast does"
            )
        if self.collect.collectors:
            raise ConfigError(
                f"key 'collectors': {self.collect.collectors} is not for processes of torchrun, here "
                f"{count}, which collect for themselves; leave one of both out"
            )
        if self.leader:
            raise ConfigError(
                f"key {TOGETHER!r}: {self[TOGETHER]} is for one process, here are {count} of torchrun; "
                "leave one of both out"
            )
        for name in SHARED:
            if self[name] % count:
                raise ConfigError(
                    f"key {name!r}: {self[name]} cannot be shared by {count} processes; "
                    f"it must be a multiple of {count}"
                )
        stages = self.world.training_schedule
        # A rank counts its own steps: a stage that begins at timestep t begins after its share of t.
        begins = [-(-timestep // count) for timestep in stages.timesteps]
        world = {"training_schedule": stages.model_copy(update={"timesteps": begins})}
        share = {name: self[name] // count for name in SHARED}
        return replace(
            self,
            world=self.world.model_copy(update=world | {"num_envs": share.pop("num_envs")}),
            replay=self.replay.model_copy(update=share),
        )

    def ways(self, device: str) -> "Ways":
        """How the parts of the trial are computed on a device."""
        from torchrl_gpu.learn.ways import Ways

        return Ways.of(self.update.compile, self.schedule, self.world.num_envs, device)

    def mode_on(self, device: str) -> str:
        """`mode`, and what is compiled where the config leaves that to the machine."""
        chosen = f' ("auto" here: {self.ways(device)})' if self.update.compile == "auto" else ""
        return self.mode + chosen + self._unkept()

    def _unkept(self) -> str:
        """A warning where much is learned after the last evaluation, with which alone models are written."""
        total, last = self.schedule.total_timesteps, self.schedule.last_evaluation
        if last is None:
            begin = self.schedule.learning_starts
            return f"; it ends before timestep {begin}: nothing is learned, and no model is written"
        if total - last < UNKEPT * total:
            return ""
        return f"; the last {total - last} of {total} timesteps leave no model: evaluations keep it"


def _section(section: type[Section], given: dict[str, Any]) -> Section:
    try:
        return section(**{name: given[name] for name in section.model_fields if name in given})
    except ValidationError as error:
        raise ConfigError(explanation(error, section)) from None


def _check_length(trial: Trial) -> None:
    """Refuse a run that ends before it learns, unless it is a legacy config, which runs as it always has."""
    schedule = trial.schedule
    legacy = trial.reproduction and "learning_starts" not in schedule.model_fields_set
    if schedule.total_timesteps < schedule.learning_starts and not legacy:
        raise ConfigError(
            f"key 'total_timesteps': {schedule.total_timesteps} must be at least 'learning_starts', "
            f"{schedule.learning_starts}: nothing would be learned"
        )


def _check_prioritized(trial: Trial) -> None:
    """Refuse what the legacy prioritised memory cannot do (Quirk A7)."""
    if not (trial.prioritized and trial.reproduction):
        return
    size, batch, agent = trial.replay.buffer_size, trial.replay.batch_size, trial.run.agent_type
    if size % 2:
        raise ConfigError(f"key 'buffer_size': {size} must be even for {agent} in reproduction mode")
    first, robots = trial.schedule.first_update, max(trial.world.training_schedule.num_robots)
    # The first batch is drawn at the first update, or at the first one that finds more than a batch.
    most = min(size, max((first + 1) * robots, batch - 1 + trial.schedule.update_every * robots))
    needed = trial.learner.return_steps * batch
    if most <= needed:
        raise ConfigError(
            f"key 'learning_starts': {trial.schedule.learning_starts} is too early for {agent} in "
            f"reproduction mode: a batch needs more than {needed} records, 'batch_size' times 'n_step', "
            f"and at most {most} are stored by then"
        )


def _check_collectors(trial: Trial) -> None:
    """Refuse collectors of NumPy worlds, those of reproduction mode."""
    if trial.collect.collectors and trial.world.backend != "torch":
        raise ConfigError(
            f"key 'collectors': {trial.collect.collectors} needs 'backend' \"torch\", as --fast chooses; "
            "in reproduction mode one process collects and learns"
        )


def _check_together(trial: Trial) -> None:
    """Refuse seeds together where they cannot go in step, or where nothing would be gained."""
    count = trial[TOGETHER]
    if count == 1:
        return
    if trial.reproduction:
        raise ConfigError(
            f"key {TOGETHER!r}: {count} needs throughput mode; reproduction mode gives the numbers of one "
            "process with one trial. Choose throughput keys, as --fast does"
        )
    if trial.collect.collectors:
        raise ConfigError(
            f"key {TOGETHER!r}: {count} is not for 'collectors', here {trial.collect.collectors}, "
            "which collect for one trial; leave one of both out"
        )
    if trial.search.scheduler:
        raise ConfigError(
            f"key {TOGETHER!r}: {count} is not for 'scheduler' {show(trial.search.scheduler)}, "
            "which stops trials one by one; leave one of both out"
        )
    # All must learn from the same update on. In each environment a robot swims in every step; the last steps
    # may wait for the end of their n-step return.
    envs, batch = trial.world.num_envs, trial.replay.batch_size
    steps = trial.schedule.first_update // envs + 1 - (trial.learner.return_steps - 1)
    if steps * envs <= batch:
        raise ConfigError(
            f"key {TOGETHER!r}: {count} needs a later 'learning_starts' than "
            f"{trial.schedule.learning_starts}: at the first update each seed must hold more transitions "
            f"than 'batch_size', {batch}, and {max(steps, 0) * envs} are sure"
        )
