"""The current that vortices make (environment spec 3)."""

from collections.abc import Callable, Sequence
from math import isfinite, pi, sqrt

Current = Callable[[float, float], tuple[float, float, float]]
"""The water at a position (x, y) m: vx, vy (m/s) and yaw rate (rad/s), world frame."""
NO_CURRENT = (0.0, 0.0, 0.0)


class Core:
    """Vortex core at north x, east y (m), of circulation Gamma (m^2/s).

    Quirk W2: seen from above on the north-up map it turns the other way than `clockwise` says.
    """

    def __init__(self, x: float, y: float, clockwise: int, Gamma: float) -> None:
        self.x, self.y, self.clockwise, self.Gamma = x, y, clockwise, Gamma


def core_speed(Gamma: float, d: float, r: float) -> float:
    """Speed (m/s) at distance d from a core of radius r (m), a Rankine profile."""
    if d <= r:
        return Gamma / (2 * pi * r * r) * d
    return Gamma / (2 * pi * d)


def current_field(cores: Sequence[Core], r: float) -> Current:
    """The superposed current of cores of radius r (m). Quirk W3: whatever lies between, every core counts."""
    if not cores:
        return lambda x, y: NO_CURRENT
    bound = [(float(c.x), float(c.y), 1.0 if c.clockwise else -1.0, float(c.Gamma)) for c in cores]

    def current(x: float, y: float) -> tuple[float, float, float]:
        if not (isfinite(x) and isfinite(y)):
            raise ValueError(f"get_velocity: a finite position is needed, not ({x}, {y})")
        contributions = []
        for core_x, core_y, sense, Gamma in bound:
            dx, dy = x - core_x, y - core_y
            d = sqrt(dx * dx + dy * dy)
            if d > 0.0:  # Quirk W4: nothing at the very centre
                k = sense * core_speed(Gamma, d, r) / d
                contributions.append((d, k * dy, -k * dx))
        contributions.sort()  # the legacy order of summation
        vx = vy = 0.0
        for _, ax, ay in contributions:
            vx += ax
            vy += ay
        return vx, vy, 0.0

    return current
