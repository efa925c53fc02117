"""Tiny folders of images in MNIST's form."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

from trainers.config import RunConfig
from trainers.tasks import idx

Part = tuple[np.ndarray, np.ndarray]


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of unsigned bytes as an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def part(count: int, *, side: int = 4, n_classes: int = 3, seed: int = 0) -> Part:
    """Images of noise in which one row, the label's, is bright."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, count).astype(np.uint8)
    labels[:n_classes] = np.arange(n_classes)
    images = rng.integers(0, 120, (count, side, side)).astype(np.uint8)
    images[np.arange(count), labels] += 100
    return images, labels


def write_images(folder: Path, *, pool: Part | None = None, val: Part | None = None, packed: bool = False) -> Path:
    """The four files; 40 images to train on and 20 for validation, unless given."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in {"train": pool or part(40), "t10k": val or part(20, seed=1)}.items():
        for kind, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            data = idx_bytes(array)
            if packed:
                (folder / f"{name}-{kind}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / f"{name}-{kind}").write_bytes(data)
    return folder


def mlp(folder: Path, **changes: Any) -> RunConfig:
    """15 of the folder's images, two hidden layers of 8; a few dozen steps."""
    data = idx.load(str(folder))
    fields: dict[str, Any] = {
        "task_kind": "images", "task": "images", "folder": str(folder), "data_sha256": data.sha256,
        "input_size": data.pixels_NT.shape[1], "n_classes": data.n_classes, "model": "mlp", "width": 8, "depth": 2,
        "train_size": 15, "learning_rate": 1e-2, "steps": 40, "eval_gaps": 8, "eval_growth": 2.0,
    }  # fmt: skip
    return RunConfig.model_validate(fields | changes)
