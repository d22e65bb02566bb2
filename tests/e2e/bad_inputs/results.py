"""Bad evaluation results, recordings, scenarios and VRX records."""

import pickle

import numpy as np

from tests.e2e.bad_inputs.case import (
    HUGE,
    Case,
    Hostile,
    config,
    cut,
    edited,
    flipped,
    member,
    nothing,
    object_array,
    removed,
    text,
)

NPZ = "trial/evaluations.npz"
TRACKS = "vrx/vrx_exp_traj.json"
PLOT = "plot_training_results trial"
VIEW = "view_scenario episode.json"
VRX = "view_vrx_trajectory vrx"

RESULTS = [
    Case(what, command, spoil, says)
    for what, command, spoil, says in (
        ("no such folder", "plot_training_results nowhere", nothing, "nowhere: no such folder"),
        (
            "folder without results",
            "plot_training_results empty",
            nothing,
            "empty: no evaluations.npz in this",
        ),
        ("torn", PLOT, cut(NPZ), "cannot be read as evaluations"),
        ("one wrong bit", "view_episode trial", flipped(NPZ), "cannot be read as evaluations"),
        ("empty", PLOT, text(NPZ, b""), "cannot be read as evaluations"),
        ("text", PLOT, text(NPZ, "{}"), "cannot be read as evaluations"),
        (
            "arrays of something else",
            PLOT,
            lambda: np.savez(NPZ, weights=np.zeros(3)),
            "expected timesteps",
        ),
        (
            "pickle that runs code",
            PLOT,
            member(NPZ, "rewards.npy", object_array(pickle.dumps(Hostile(), protocol=4))),
            "mkdir; only NumPy arrays are allowed",
        ),
        (
            "pickle that is no array",
            PLOT,
            member(NPZ, "rewards.npy", object_array(pickle.dumps([1]))),
            "its pickle holds a list; only NumPy arrays are allowed",
        ),
        (
            "torn pickle",
            PLOT,
            member(NPZ, "times.npy", object_array(b"\x80\x04garbage")),
            "cannot be read as evaluations",
        ),
        (
            "episodes that do not match",
            PLOT,
            member(NPZ, "times.npy", object_array(pickle.dumps(np.array([1, 2], dtype=object)))),
            "arrays of unequal length",
        ),
        (
            "words for numbers",
            PLOT,
            member(NPZ, "rewards.npy", object_array(pickle.dumps(np.array([["high"]], dtype=object)))),
            "not evaluation results",
        ),
        (
            "trial config a list",
            PLOT,
            text("trial/trial_config.json", "[]"),
            "must hold an object",
        ),
        (
            "trial config torn",
            PLOT,
            cut("trial/trial_config.json"),
            "not a JSON file",
        ),
        ("no such recording", "view_episode nowhere", nothing, "nowhere: no such file or folder"),
        ("folder of no trial", "view_episode empty", nothing, "eval_configs.json: no such file"),
        ("no evaluations", "view_episode trial", removed(NPZ), "trial/evaluations.npz: no such file"),
        (
            "episodes missing",
            "view_episode trial",
            text("trial/eval_configs.json", "[]"),
            "the list of episodes is empty",
        ),
        (
            "no histories",
            "view_episode episode.json",
            edited("episode.json", lambda e: e["robots"].pop("trajectory")),
            "trajectories of 3 robots expected",
        ),
        (
            "angle of nothing",
            "view_episode episode.json",
            edited("episode.json", lambda e: e["robots"]["perception"]["angle"].__setitem__(0, float("nan"))),
            "robots.perception.angle[0] is nan",
        ),
    )
]

SCENARIOS = [
    Case(what, command, spoil, says)
    for what, command, spoil, says in (
        ("no such file", "view_scenario nowhere.json", nothing, "nowhere.json: no such file"),
        ("a folder", "view_scenario empty", nothing, "empty: is a folder, not a file"),
        (
            "torn",
            VIEW,
            cut("episode.json"),
            "not an episode dictionary or a list of them",
        ),
        (
            "not text",
            VIEW,
            text("episode.json", b"\xff\xfe"),
            "not an episode dictionary",
        ),
        (
            "deeply nested",
            VIEW,
            text("episode.json", "[" * 100_000),
            "episode.json: ",
        ),
        ("something else", "view_scenario config.json", nothing, "episode: env is missing"),
        (
            "a list of numbers",
            VIEW,
            text("episode.json", "[1, 2]"),
            "one episode dictionary or a list",
        ),
        (
            "missing key",
            VIEW,
            edited("episode.json", lambda e: e["env"].pop("width")),
            "env.width is missing",
        ),
        (
            "too few robots",
            VIEW,
            edited("episode.json", lambda e: e["robots"]["start"].pop()),
            "robots.start has 2 entries; 3 are needed",
        ),
        (
            "word for a number",
            VIEW,
            edited("episode.json", lambda e: e["robots"]["start"].__setitem__(0, ["north", 3])),
            "could not convert string to float",
        ),
        (
            "robots beyond reason",
            VIEW,
            edited("episode.json", lambda e: e["env"].update(num_robots=HUGE)),
            "are needed",
        ),
        (
            "negative noise",
            VIEW,
            edited("episode.json", lambda e: e["robots"]["perception"]["pos_std"].__setitem__(0, -1)),
            "at least 0 is allowed",
        ),
        (
            "map of no size",
            VIEW,
            edited("episode.json", lambda e: e["env"].update(width=0)),
            "env.width is 0, must be a number above 0",
        ),
        ("no such file", "evaluate -M DQN -E nowhere.json", nothing, "nowhere.json: No such file"),
        ("something else", "evaluate -M DQN -E config.json", nothing, "not evaluation episodes"),
        ("no episode", "evaluate -M DQN -E episode.json", text("episode.json", "[]"), "holds no episode"),
        (
            "word for a number",
            "evaluate -M DQN -E episode.json",
            edited("episode.json", lambda e: e["robots"]["start"].__setitem__(0, ["north", 3])),
            "could not convert string to float",
        ),
        (
            "swept discount",
            "evaluate -M DQN -C config.json",
            config(discount=[0.9, 0.99]),
            "'discount' has 2 values",
        ),
        (
            "a start beyond the map",
            "evaluate -M AC-IQN -E episode.json",
            edited("episode.json", lambda e: e["robots"]["start"].__setitem__(0, [1e300, 3])),
            "episode 0 cannot be played: ",
        ),
        (
            "a vessel of no mass",
            "evaluate -M AC-IQN -E episode.json",
            edited("episode.json", lambda e: e["robots"]["m"].__setitem__(0, 0)),
            "episode 0 cannot be played: ",
        ),
        (
            "half a step",
            "evaluate -M AC-IQN -E episode.json",
            edited("episode.json", lambda e: e["robots"]["N"].__setitem__(0, 1.5)),
            "episode 0 cannot be played: ",
        ),
        (
            "steps without end",
            "evaluate -M AC-IQN -E episode.json",
            edited("episode.json", lambda e: e["robots"]["N"].__setitem__(0, HUGE)),
            "robots.N[0] is 1000",
        ),
        ("no such folder", "view_vrx_trajectory nowhere", nothing, "nowhere: no such folder"),
        ("folder without files", "view_vrx_trajectory empty", nothing, "vrx_exp_config.json: no such file"),
        (
            "no trajectories",
            VRX,
            removed("vrx/vrx_exp_traj.json"),
            "vrx_exp_traj.json: no such",
        ),
        (
            "vessel missing",
            VRX,
            edited(TRACKS, lambda r: r["poses"].pop("wamv2")),
            "wamv2: timestamps, poses and velocities needed",
        ),
        (
            "poses of five numbers",
            VRX,
            edited(TRACKS, lambda r: r["poses"]["wamv1"][0].pop()),
            "wamv1: needs equally many",
        ),
        (
            "no samples",
            VRX,
            edited(TRACKS, lambda r: [r[key]["wamv1"].clear() for key in r]),
            "wamv1: needs equally many",
        ),
        (
            "words for times",
            VRX,
            edited(TRACKS, lambda r: r["timestamps"]["wamv1"].__setitem__(0, "soon")),
            "wamv1: needs equally many",
        ),
        (
            "a list",
            VRX,
            text(TRACKS, "[]"),
            "wamv1: timestamps, poses and velocities needed",
        ),
    )
]
