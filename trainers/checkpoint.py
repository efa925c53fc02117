"""The whole state of a pack as bytes, bit for bit: safetensors, with the small values as JSON in its metadata.

There is no generator to save: what is drawn during training is a function of (run, stream, step). What a run brings
along (data, hyperparameters) is rebuilt from its config. Reading executes nothing.
"""

import json
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from trainers.lanes import Lanes

VERSION = 2


def dump(lanes: Lanes, state: dict[str, Any]) -> bytes:
    metadata = {"grokctl": json.dumps({"version": VERSION, **state}, allow_nan=False)}
    return safetensors.torch.save(_tensors(lanes), metadata=metadata)


def read_state(data: bytes) -> dict[str, Any]:
    """The small values.

    Raises:
        ValueError: the bytes are no checkpoint, or one of another version.
    """
    state = _metadata(data)
    if state.pop("version", None) != VERSION:
        raise ValueError(f"this checkpoint has another version than {VERSION}; use the grokctl that wrote it")
    return state


def load_tensors(data: bytes, lanes: Lanes) -> None:
    """Copy the tensors into `lanes`.

    Raises:
        ValueError: the bytes are damaged, or of a pack with other shapes.
    """
    try:
        stored = safetensors.torch.load(data)
    except SafetensorError as error:
        raise ValueError(f"this checkpoint is damaged: {error}") from error
    for name, tensor in _tensors(lanes).items():
        if name not in stored or stored[name].shape != tensor.shape or stored[name].dtype != tensor.dtype:
            raise ValueError(f"the checkpoint does not fit this pack: {name}")
        tensor.copy_(stored[name])


def _tensors(lanes: Lanes) -> dict[str, Tensor]:
    return {
        "parameters": lanes.parameters_LP,
        "first_moment": lanes.moments.first_LP,
        "second_moment": lanes.moments.second_LP,
        "step": lanes.step_L,
        "first_bad": lanes.first_bad_L,
    }


def _metadata(data: bytes) -> dict[str, Any]:
    """safetensors: 8 bytes with the header's length, then the header as JSON."""
    length = int.from_bytes(data[:8], "little")
    try:
        state: dict[str, Any] = dict(json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["grokctl"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("these bytes are no checkpoint of a pack") from error
    return state
