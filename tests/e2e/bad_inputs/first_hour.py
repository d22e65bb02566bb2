"""What a new user gets wrong, by the command `marinenav`."""

import os

from tests.e2e.bad_inputs.case import HUGE, Case, config, nothing, text


def unfinished() -> None:
    """A trial that has not come to an evaluation."""
    for name in os.listdir("run/seed_3"):
        if name.endswith((".pth", ".json", ".npz")) and name != "trial_config.json":
            os.unlink(f"run/seed_3/{name}")


def moved() -> None:
    """A run below another folder."""
    os.renames("run", "runs/run")


FIRST_HOUR = [
    Case(what, f"marinenav {command}", spoil, says)
    for what, command, spoil, says in (
        ("misspelt command", "trian -C config.json", nothing, "'trian' is no command; did you mean 'train'?"),
        ("no command of these", "install", nothing, "there are quickstart, train, "),
        (
            "nothing to train",
            "train",
            nothing,
            "required: -C/--config-file, or --resume (see marinenav train",
        ),
        ("config without its flag", "train config.json", nothing, "a config is given by -C config.json"),
        ("misspelt file", "train -C confg.json", nothing, "did you mean 'config.json'?"),
        (
            "no such file",
            "train -C nowhere.txt",
            nothing,
            "nowhere.txt: No such file or directory; there are",
        ),
        ("a folder", "train -C .", nothing, ".: is a folder, not a config file; it holds config.json"),
        ("something else", "train -C text.md", text("text.md", "# Title"), "is no JSON, as a config is"),
        ("misspelt key", "train -C config.json learnign_rate=1", nothing, "did you mean 'learning_rate'?"),
        ("value not allowed", "train -C config.json tau=2", nothing, "2 is not allowed; it must be a number"),
        (
            "number too large",
            f"train -C config.json seed={HUGE}",
            nothing,
            "it must be a whole number from 0",
        ),
        (
            "word for a number",
            "train -C config.json tau=abc",
            nothing,
            "key 'tau': \"abc\" is not allowed; it",
        ),
        ("unknown agent", "train -C config.json agent_type=PPO", nothing, '"PPO" is not allowed; it must be'),
        (
            "key of other agents",
            "train -C config.json cvar=0.5",
            nothing,
            "no effect on DQN; those that have",
        ),
        ("key without value", "train -C config.json seed", nothing, "argument 'seed': it must be key=value"),
        (
            "key as a flag",
            "train -C config.json --total-timesteps 5000",
            nothing,
            "if it is a key of the config, it is given as total_timesteps=VALUE",
        ),
        ("misspelt flag", "train -C config.json --fats", nothing, "--fats; did you mean '--fast'?"),
        ("no such GPU", "train -C config.json -D cuda:77", nothing, "CUDA device(s)"),
        ("runs in a file", "train -C config.json", config(save_dir="episode.json"), "'save_dir': cannot"),
        (
            "a folder of runs",
            "train --resume runs",
            lambda: os.renames("run", "runs/run"),
            "did you mean runs/run?",
        ),
        ("key of the quickstart", "quickstart sed=1", nothing, "unknown key 'sed'; did you mean 'seed'?"),
        (
            "study of two things",
            "study -C config.json tau=0.1,0.2 -o study",
            nothing,
            "differ in the seed only",
        ),
        ("evaluation without episodes", "evaluate -M DQN", nothing, "-C or -E is needed: the episodes"),
        ("no such model", "evaluate -M nowhere -C config.json", nothing, "nowhere: no such file"),
        ("run for a model", "evaluate -M run -C config.json", nothing, "did you mean run/seed_3?"),
        (
            "run before its first model",
            "evaluate -M run/seed_3 -C config.json",
            unfinished,
            "has not come to",
        ),
        ("run for a model", "export -M run", nothing, "did you mean run/seed_3?"),
        ("no such model", "export -M nowhere", nothing, "nowhere: no such model folder"),
        (
            "run for a trial",
            "view run",
            nothing,
            "run/eval_configs.json: no such file; did you mean run/seed_3?",
        ),
        (
            "run before its first evaluation",
            "view run/seed_3",
            unfinished,
            "has not come to its first evalua",
        ),
        ("folder of no run", "view empty", nothing, "empty/eval_configs.json: no such file"),
        ("no such folder", "view nowhere", nothing, "nowhere: no such file or folder"),
        ("no such folder", "runs nowhere", nothing, "nowhere: no trial_config.json in this folder or below"),
        ("run before its first evaluation", "plot run", unfinished, "have not come to their first"),
        ("folder of no run", "plot empty", nothing, "empty: no evaluations.npz in this folder or below it"),
        ("folder of no run", "report empty", nothing, "empty: no evaluations.npz in this folder or"),
        ("one run alone", "compare run", nothing, "give another run to compare it with"),
        (
            "kind of picture",
            "view trial -o episode.bmp",
            nothing,
            "the name must end in .png, .gif, .mp4, .html",
        ),
    )
]
