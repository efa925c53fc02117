"""What a step frees stays with the process.

The activations of a step are blocks of megabytes, and glibc gives such blocks back to the system as they are freed: the
next step asks for them anew, and the system hands out every page zeroed, at a fault each. In steps of transformers that
took a tenth to a half of the time (LOG.md).
"""

import ctypes
import functools

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""
TRIM_BYTES = 2**31 - 1
"""Free bytes at the end of the heap that are given back: the most that mallopt can say."""
MAPPED_BYTES = 32 * 2**20
"""Blocks from this size on are mapped one by one, and given back: the most that glibc accepts. Those of a step are
smaller, since lanes are chosen to stay near the cache."""


@functools.cache
def keep_freed_memory() -> bool:
    """For good, in this process. False where malloc is not glibc's, and nothing has changed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(option, value) == 1
        for option, value in ((M_MMAP_THRESHOLD, MAPPED_BYTES), (M_TRIM_THRESHOLD, TRIM_BYTES))
    )
