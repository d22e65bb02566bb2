"""The name by which Gymnasium makes the environment; nothing of the world is imported before that."""

import gymnasium

ID = "MarineNav-v3"

if ID not in gymnasium.registry:
    gymnasium.register(ID, "marinenav_env.envs.gymnasium:MarineNavGymnasiumEnv")
