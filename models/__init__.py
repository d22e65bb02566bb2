"""The zoo: trained policies, ready to be evaluated, looked at and exported.

Each folder is a model folder of an agent (agents spec 10: weights and constructor parameters), with the
`config.json` that trained it and, in `score.json`, what it scored and by which command.
"""

from pathlib import Path

ROOT = Path(__file__).parent


def names() -> list[str]:
    """Names of the policies."""
    return sorted(path.parent.name for path in ROOT.glob("*/config.json"))


def folder(name: str) -> Path:
    """Model folder of a policy; ValueError if the zoo has none of that name."""
    if name not in names():
        raise ValueError(f"{name!r} is not in the zoo; it has {', '.join(names()) or 'no policy yet'}")
    return ROOT / name
