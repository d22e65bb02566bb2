"""States of random streams as plain data."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def stream_state(stream: np.random.RandomState) -> dict[str, Any]:
    """State of a stream, the second number of its last pair of normals included."""
    name, words, position, has_gauss, gauss = stream.get_state()
    words = words.astype(np.int64)  # a type that every tensor format knows
    return {"name": name, "words": words, "position": position, "has_gauss": has_gauss, "gauss": gauss}


def set_stream_state(stream: np.random.RandomState, state: Mapping[str, Any]) -> None:
    """Let a stream go on from a `stream_state`."""
    words = np.asarray(state["words"]).astype(np.uint32)
    stream.set_state((state["name"], words, state["position"], state["has_gauss"], state["gauss"]))
