"""The process's memory over a long time."""

import ctypes
import sys

_MMAP_THRESHOLD = -3  # glibc's M_MMAP_THRESHOLD
LARGE = 1 << 20  # bytes


def give_large_arrays_back() -> None:
    """Has glibc map each array of 1 MB or more on its own, so that freeing it gives it back.

    By default the size from which it does that grows with what is freed, up to 32 MB. The learner's
    large arrays then share the heap with small ones that stay, which break it up, and memory grows
    for hours. Does nothing where the C library is another one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGE)
