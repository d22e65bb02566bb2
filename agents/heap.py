"""Memory that a long computation frees and takes again, thousands of times a second."""

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of `mallopt` in glibc's malloc.h."""
KEPT = 1 << 30
"""Bytes at the end of the heap that are kept though nobody uses them."""
LARGE = 1 << 26
"""Bytes from which a tensor has pages of its own, which it gives back."""


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, so that tensors of thousands of rows find it again.

    As it comes, glibc gives megabytes back to the system as soon as they are free, and takes them again a
    moment later, page by page: up to a third of the time of acting for 4,096 environments. Other C libraries
    have no such switch, and are left as they are.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, LARGE)
