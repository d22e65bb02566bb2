"""Bad runs to go on with, bad checkpoints, and disks that cannot be written to."""

import os
import zipfile

from tests.e2e.bad_inputs.case import TRAIN, Case, config, cut, edited, flipped, nothing, text

RESUME = "train_torchrl_gpu --resume run/seed_3"
TRIAL = "run/seed_3/trial_config.json"
CHECKPOINT = "run/seed_3/checkpoints/checkpoint-000000000010.torchrl"


def add_member(name: str) -> None:
    """Put one more file into the checkpoint."""
    with zipfile.ZipFile(CHECKPOINT, "a") as archive:
        archive.writestr(name, b"content")


def finish_without_results() -> None:
    """Mark the trial as finished, with nothing to show for it."""
    os.unlink(CHECKPOINT)
    text("run/seed_3/finished.json", "{}")()


RUNS = [
    Case(what, command, spoil, says)
    for what, command, spoil, says in (
        (
            "no such folder",
            "train_torchrl_gpu --resume nowhere",
            nothing,
            "nowhere holds neither trial_config.json",
        ),
        (
            "folder of no run",
            "train_torchrl_gpu --resume empty",
            nothing,
            "empty holds neither trial_config.json nor",
        ),
        ("trial config torn", RESUME, cut(TRIAL), "trial_config.json: "),
        ("trial config a list", RESUME, text(TRIAL, "[]"), "must hold one JSON object"),
        ("trial config of nothing", RESUME, text(TRIAL, "{}"), "missing keys 'seed'"),
        (
            "trial config a sweep",
            RESUME,
            edited(TRIAL, lambda c: c.update(seed=[1, 2])),
            "describes several trials",
        ),
        ("unknown agent", RESUME, edited(TRIAL, lambda c: c.update(agent_type="PPO")), "it must be one of"),
        (
            "run config torn",
            "train_torchrl_gpu --resume run",
            cut("run/config.json"),
            "run/config.json: malformed",
        ),
        ("finished, its results and checkpoints lost", RESUME, finish_without_results, "is finished, but "),
        ("absent device", f"{RESUME} -D cuda:77", nothing, "device 'cuda:77' is not available"),
    )
]

CHECKPOINTS = [
    Case(what, RESUME, spoil, says, status=1)
    for what, spoil, says in (
        ("torn", cut(CHECKPOINT), "none of 1 checkpoints"),
        ("one wrong bit", flipped(CHECKPOINT), "none of 1 checkpoints"),
        ("empty", text(CHECKPOINT, b""), "none of 1 checkpoints"),
        ("text", text(CHECKPOINT, "not a checkpoint"), "none of 1 checkpoints"),
        (
            "a model in place of a checkpoint",
            lambda: os.replace("traced_DQN_model.pt", CHECKPOINT),
            "none of 1",
        ),
        ("a foreign member", lambda: add_member("more.bin"), "holds 'more.bin', which belongs to no"),
        ("a member outside", lambda: add_member("../../x.pth"), "holds '../../x.pth', which belongs to no"),
        (
            "of another config",
            edited(TRIAL, lambda c: c.update(learning_rate=0.001)),
            "another trial: learning_rate None, here 0.001",
        ),
        (
            "of another agent",
            edited(TRIAL, lambda c: c.update(agent_type="SAC")),
            "another trial: agent_type 'DQN', here 'SAC'",
        ),
        ("of another seed", edited(TRIAL, lambda c: c.update(seed=4)), "another trial: seed 3, here 4"),
    )
]

DISK = [
    Case(f"{disk} disk: {what}", command, spoil, says, status, disk)
    for disk in ("full", "read-only")
    for what, command, spoil, says, status in (
        ("run folder", TRAIN, config(save_dir="disk/runs"), "'save_dir': cannot create a folder", 2),
        (
            "a later run folder",
            TRAIN,
            config(save_dir=["runs", "disk/runs"]),
            "'save_dir': cannot create a folder",
            2,
        ),
        ("model", "export -M DQN -O disk", nothing, "export: failed: ", 1),
        (
            "report",
            "evaluate -M DQN -C config.json --output disk/report.json",
            nothing,
            "evaluate: failed: ",
            1,
        ),
        ("curves", "plot_training_results trial -o disk/curves.png", nothing, "failed: ", 1),
        (
            "picture of an episode",
            "view_episode trial --width 400 -o disk/episode.png",
            nothing,
            "failed: ",
            1,
        ),
        ("player", "view_episode trial --width 400 --every 80 -o disk/episode.html", nothing, "failed: ", 1),
        ("sheet", "view_scenario episode.json --dpi 30 -o disk/sheet.png", nothing, "failed: ", 1),
        ("trajectories", "view_vrx_trajectory vrx -o disk/tracks.png", nothing, "failed: ", 1),
        ("scenario", "vrx_experiment_config -o disk/scenario.json", nothing, "failed: ", 1),
    )
]
