"""Bad configs, and configs that only the other pipeline can run."""

import os

from tests.e2e.bad_inputs.case import (
    CONFIG,
    HUGE,
    MISSING,
    TRAIN,
    Case,
    config,
    cut,
    evaluated,
    removed,
    text,
    training,
)

CONFIGS = [
    Case(what, TRAIN, spoil, says)
    for what, spoil, says in (
        # ---- the file
        ("no such file", removed("config.json"), "config.json: No such file or directory"),
        ("empty file", text("config.json", ""), "malformed JSON at line 1 column 1"),
        ("file cut off", cut("config.json"), "malformed JSON at line 1"),
        ("comment", text("config.json", '{"seed": 0 // why\n}'), "malformed JSON"),
        ("a list", text("config.json", "[1, 2]"), "must hold one JSON object, got [1, 2]"),
        ("a number", text("config.json", "3"), "must hold one JSON object, got 3"),
        ("not text", text("config.json", b"\xff\xfe\x00"), "is not UTF-8 text"),
        ("a key twice", text("config.json", '{"seed": 0, "seed": 1}'), "'seed' is given more than once"),
        ("NaN", text("config.json", '{"tau": NaN}'), "NaN is not a number"),
        ("infinity", text("config.json", '{"tau": -Infinity}'), "-Infinity is not a number"),
        ("deeply nested", text("config.json", "[" * 100_000), "malformed JSON: nested too deeply"),
        ("5000 digits", text("config.json", '{"seed": ' + "9" * 5000 + "}"), "too many digits"),
        ("an episode in place of a config", lambda: os.replace("episode.json", "config.json"), "key 'env'"),
        # ---- keys
        ("misspelt key", config(totaltimesteps=5), "did you mean 'total_timesteps'?"),
        ("unknown key", config(xyzzy=5), "unknown key 'xyzzy'; known keys are seed, "),
        ("missing key", config(seed=MISSING), "missing key 'seed'"),
        ("missing keys", config(seed=MISSING, agent_type=MISSING), "missing keys 'seed', 'agent_type'"),
        ("missing schedule", config(eval_schedule=MISSING), "missing key 'eval_schedule'"),
        # ---- types and ranges
        ("unknown agent", config(agent_type="PPO"), '"PPO" is not allowed; it must be one of "AC-IQN"'),
        ("agent in lower case", config(agent_type="ac-iqn"), "'agent_type'"),
        ("seed a string", config(seed="a"), "'seed': \"a\" is not allowed; it must be a whole number from 0"),
        ("seed negative", config(seed=-1), "'seed': -1"),
        ("seed a truth value", config(seed=True), "'seed': true"),
        ("seed too large", config(seed=2**32), "from 0 to 4294967295"),
        ("seed null", config(seed=None), "'seed': null"),
        ("very long value", config(seed="x" * 500), "..."),
        ("no timesteps", config(total_timesteps=0), "'total_timesteps': 0 is not allowed"),
        ("timesteps not whole", config(total_timesteps=6e6), "'total_timesteps': 6000000.0"),
        ("timesteps a word", config(total_timesteps="many"), "'total_timesteps': \"many\""),
        ("timesteps beyond reason", config(total_timesteps=HUGE), "from 1 to 1000000000000"),
        ("evaluation frequency", config(eval_freq=0), "'eval_freq': 0"),
        ("imitation learning", config(imitation_learning=True), "true is not supported"),
        ("0 for false", config(imitation_learning=0), "0 is not allowed; it must be true or false"),
        ("batch of nothing", config(batch_size=0), "'batch_size': 0"),
        ("batch beyond reason", config(batch_size=HUGE), "'batch_size': 1000"),
        ("memory not larger than a batch", config(buffer_size=8), "8 must be above 'batch_size', 8"),
        ("memory not whole", config(buffer_size=1e25), "'buffer_size': 1e+25"),
        ("memory beyond reason", config(buffer_size=HUGE), "from 2 to 10000000000"),
        ("memory larger than the machine's", config(buffer_size=10**10), "'buffer_size': 10000000000 trans"),
        ("odd Rainbow memory", config(agent_type="Rainbow", buffer_size=1001), "1001 must be even"),
        ("learning rate 0", config(learning_rate=0), "it must be a number above 0 and at most 1"),
        ("infinite norm", config(max_grad_norm=1e308 * 10), "is not a number"),
        ("huge norm", config(max_grad_norm=10**400), "'max_grad_norm'"),
        ("tau above 1", config(tau=1.5), "above 0 and at most 1"),
        ("epsilon above 1", config(initial_eps=2), "2 is not allowed; it must be a number from 0 to 1"),
        ("n-step beyond reason", config(n_step=HUGE), "from 1 to 100"),
        ("unknown backend", config(backend="jax"), 'one of "numpy", "torch"'),
        ("no environments", config(num_envs=0), "'num_envs': 0"),
        ("environments beyond reason", config(num_envs=HUGE), "from 1 to 1000000"),
        ('"yes" for true', config(compile="yes"), '"yes" is not allowed; it must be true or false'),
        ("checkpoints negative", config(checkpoint_every=-1), "'checkpoint_every': -1"),
        ("checkpoints beyond reason", config(checkpoint_keep=HUGE), "from 1 to 1000"),
        ("unknown logger", config(logger="mlflow"), '"csv", "tensorboard", "wandb"'),
        # ---- schedules
        ("schedule a list", config(training_schedule=[1]), "must be an object of equally long lists"),
        ("schedule of unequal lists", training(num_robots=[3]), "timesteps 2, num_robots 1, num_cores 2"),
        ("schedule of a number", evaluated(num_robots=3), "'num_robots' must be a non-empty list"),
        ("schedule of nothing", evaluated(num_robots=[]), "'num_robots' must be a non-empty list"),
        ("misspelt list", evaluated(robots=[3]), "'robots' in 'eval_schedule'; did you mean 'num_robots'?"),
        ("missing lists", config(training_schedule={"timesteps": [0]}), "missing keys 'num_robots', 'num_"),
        ("no robots", training(num_robots=[0, 1]), "0 in 'num_robots' is not allowed"),
        ("robots not whole", training(num_robots=[1e30, 1]), "1e+30 in 'num_robots' is not allowed"),
        ("robots beyond reason", evaluated(num_robots=[HUGE]), "from 1 to 100"),
        ("robots a truth value", evaluated(num_robots=[True]), "true in 'num_robots'"),
        ("negative vortices", evaluated(num_cores=[-1]), "-1 in 'num_cores'"),
        ("obstacles beyond reason", evaluated(num_obstacles=[HUGE]), "from 0 to 100"),
        ("distance beyond the map", evaluated(min_start_goal_dis=[73]), "from 0 to 72"),
        ("episodes beyond reason", evaluated(num_episodes=[HUGE]), "from 0 to 100000"),
        ("no episodes", evaluated(num_episodes=[0]), "'num_episodes' has no episode"),
        ("stages not ascending", training(timesteps=[0, -5]), "-5 in 'timesteps'"),
        (
            "stages unsorted",
            config(training_schedule={k: [*v, v[0]] for k, v in CONFIG["training_schedule"].items()}),
            "'timesteps' must ascend, got [0, 20, 0]",
        ),
        ("late first stage", training(timesteps=[1, 2]), "'timesteps' must start with 0, got 1"),
        # ---- sweeps
        ("sweep with a bad value", config(agent_type=["DQN", "PPO"]), '"PPO"'),
        ("sweep with a bad number", config(seed=[0, 1.5]), "'seed': 1.5"),
        ("nested sweep", config(seed=[[0, 1]]), "'seed': [0, 1]"),
        ("empty sweep", config(seed=[]), "'seed': an empty list is a sweep without trials"),
        ("sweep with a value twice", config(seed=[0, 0]), "two trials would write into runs/.../seed_0"),
        (
            "sweep of a million",
            config(seed=[*range(1000)], tau=[k / 1000 for k in range(1, 1001)]),
            "1000000 trials",
        ),
        # ---- keys against each other, and against the disk
        ("mixed stages in the NumPy world", config(stage_mix=True), "needs 'backend' \"torch\""),
        (
            "more stages than environments to mix",
            config(stage_mix=True, backend="torch"),
            "needs an environment for each stage; 'num_envs' is 1, 'training_schedule' has 2",
        ),
        ("autocast without compile", config(autocast=True), "'autocast': true needs 'compile' true"),
        ("save_dir empty", config(save_dir=""), "'save_dir': \"\" is not allowed"),
        ("save_dir a number", config(save_dir=3), "'save_dir': 3"),
        ("save_dir with a null", config(save_dir="a\0b"), "'save_dir'"),
        ("save_dir a file", config(save_dir="config.json"), "'save_dir': cannot create a folder"),
        ("save_dir too long", config(save_dir="x" * 300), "'save_dir': cannot create a folder"),
        (
            "a later save_dir is a file",
            config(save_dir=["runs/a/b", "trial/evaluations.npz"]),
            "'save_dir': cannot create a folder",
        ),
    )
]

LEGACY = [
    Case(what, "train_rl_agents -C config.json", spoil, says)
    for what, spoil, says in (
        ("several environments", config(num_envs=2), "'num_envs': 2 is not allowed in the legacy pipeline"),
        ("tensor world", config(backend="torch"), "'backend': \"torch\" is not allowed in the legacy"),
        ("autocast", config(autocast=True, compile=True), "use python -m torchrl_gpu.train_torchrl_gpu"),
        ("another logger", config(logger="wandb"), "'logger': \"wandb\" is not allowed in the legacy"),
        ("unknown agent", config(agent_type="PPO"), 'it must be one of "AC-IQN"'),
        ("imitation learning", config(imitation_learning=True), "true is not supported"),
        ("save_dir a file", config(save_dir="config.json"), "'save_dir': cannot create a folder"),
    )
]
