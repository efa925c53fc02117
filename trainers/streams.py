"""Randomness drawn before training: the split, label noise, targets and initial weights.

Each (seed, stream) names one generator of its own, so what one stream draws never shifts another: a run with label
noise has the same initial weights as its twin without. What is drawn during training is in `trainers.philox`.
"""

import hashlib

import numpy as np


def stream_key(seed: int, stream: str) -> int:
    """64-bit key of a stream; the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{stream}/{seed}".encode()).digest()[:8], "little")


def generator(seed: int, stream: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=stream_key(seed, stream)))
