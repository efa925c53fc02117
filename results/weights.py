"""Final weights, one safetensors file for many runs; tensors are named `<run_id>/<name>`."""

from collections.abc import Mapping

import numpy as np
from safetensors.numpy import load, save


def encode_weights(weights: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    flat = {
        f"{run_id}/{name}": np.ascontiguousarray(tensor)
        for run_id, tensors in weights.items()
        for name, tensor in tensors.items()
    }
    return save(flat)


def decode_weights(data: bytes, run_id: str) -> dict[str, np.ndarray]:
    """The tensors of one run, by their name in its state dict."""
    prefix = f"{run_id}/"
    return {name.removeprefix(prefix): tensor for name, tensor in load(data).items() if name.startswith(prefix)}
