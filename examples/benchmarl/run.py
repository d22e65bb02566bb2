"""Train on five vessels with BenchMARL: `python examples/benchmarl/run.py mappo`, or ippo, qmix, masac."""

import argparse
from pathlib import Path

from benchmarl.algorithms import algorithm_config_registry
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models import MlpConfig
from marinenav_task import MarineNavTask

FIVE_VESSELS = {
    **{"num_robots": 5, "num_cores": 0, "num_obs": 0, "min_start_goal_dis": 15.0},
    **{"collision_penalty": -8.0, "max_steps": 200},
}


def experiment_config(iterations: int, out: Path) -> ExperimentConfig:
    """BenchMARL's own defaults, but for a world of many environments and a larger step size."""
    config = ExperimentConfig.get_from_yaml()
    config.max_n_frames, config.max_n_iters = None, iterations
    config.on_policy_n_envs_per_worker = config.off_policy_n_envs_per_worker = 64
    config.on_policy_collected_frames_per_batch, config.on_policy_minibatch_size = 4096, 1024
    config.off_policy_collected_frames_per_batch, config.off_policy_n_optimizer_steps = 512, 16
    config.on_policy_n_minibatch_iters = 8
    config.lr, config.share_policy_params = 3e-4, True
    config.evaluation_interval = 40_960
    config.loggers, config.render, config.save_folder = ["csv"], False, str(out)
    return config


def main(algorithm: str, iterations: int, seed: int, out: Path) -> Experiment:
    """Train, and write BenchMARL's results to a folder; gives the experiment that has run."""
    out.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(
        task=MarineNavTask("five_vessels", FIVE_VESSELS),
        algorithm_config=algorithm_config_registry[algorithm].get_from_yaml(),
        model_config=MlpConfig.get_from_yaml(),
        seed=seed,
        config=experiment_config(iterations, out),
    )
    experiment.run()
    return experiment


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("algorithm", choices=algorithm_config_registry)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarl_results"))
    main(**vars(parser.parse_args()))
