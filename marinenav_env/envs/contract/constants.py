"""Numbers that both worlds share (environment spec 1): SI units, each stands here once."""

EPISODE_LIMIT = 1000
"""Steps of an episode after which every further one reports a too long episode: the 1001st is the last."""

# ---- vessel ---------------------------------------------------------------------------------------------

CONTINUOUS_THRUST_RATE = 1000.0
"""Thrust rate of a full continuous command (N/s), whatever the discrete thrust changes are."""
THRUST_CHANGES = (0.0, -500.0, -1000.0, 500.0, 1000.0)
"""Thrust rates (N/s) that a discrete action chooses from, for the left and for the right thruster."""
NUM_ACTIONS = len(THRUST_CHANGES) ** 2
"""Discrete actions: all pairs of (left, right), the left being the outer loop."""

# ---- generated scenarios (environment spec 4) -----------------------------------------------------------

START_MARGIN = 2.0
"""Starts and goals keep this distance (m) from the edge of the map."""
OBSTACLE_MARGIN = 5.0
"""Centres of obstacles keep this distance (m) from the edge of the map."""
MAX_ATTEMPTS = 500
"""Candidates drawn for the robots, the cores and the obstacles of a scenario each."""

# ---- COLREGs (environment spec 8) -----------------------------------------------------------------------

STATIC_SPEED = 0.5
"""Below this speed (m/s) neither an object nor the vessel itself takes part in COLREGs."""
PASSING_MARGIN = 1.0
"""Clearance (m) added to a perceived radius when passing."""
HEAD_ON_LENGTH, HEAD_ON_WIDTH = 17.0, 9.0
"""Head-on zone (m), ahead of a target and symmetric about its course."""
LEFT_CROSSING_X, LEFT_CROSSING_Y_FRONT = (-9.0, 12.0), (-17.0, -7.0)
"""Left-crossing zone (m) in the frame of a target: behind and ahead of it; its port limits at both ends."""
