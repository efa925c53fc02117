"""A folder of images as MNIST comes: four IDX files, gzipped or not, read strictly.

An IDX file opens with two zero bytes, a byte for the type (8: unsigned bytes, the only one here) and a byte for the
number of dimensions, then each dimension as a big-endian 32-bit number, then the values. What does not add up is
refused with the file's name. The hash is of the unpacked contents: neither the folder nor the packing enters it.
"""

import functools
import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from trainers.errors import DataError
from trainers.tasks.digest import digest_of

Bytes = npt.NDArray[np.uint8]

DIMENSIONS = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}
PARTS = ("train", "t10k")
"""The pool of training examples, and the examples for validation."""
MAX_BYTES = 4 * 2**30
TRY_AGAIN = "fetch the file again"


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Both parts, the pool first. N images, T pixels of one."""

    pixels_NT: Bytes
    labels_N: npt.NDArray[np.int64]
    n_pool: int
    n_classes: int
    sha256: str

    @property
    def n_val(self) -> int:
        return len(self.labels_N) - self.n_pool


def load(folder: str) -> Images:
    """The images in a folder; read once a process unless a file changes. Raises DataError."""
    try:
        paths = [_find(Path(folder), f"{part}-{kind}") for part in PARTS for kind in DIMENSIONS]
        stamps = tuple((str(path), (stat := path.stat()).st_mtime_ns, stat.st_size, stat.st_ino) for path in paths)
    except OSError as error:
        raise DataError(f"cannot look into {folder}: {error.strerror or error}") from None
    return _load(stamps)


@functools.lru_cache(maxsize=2)
def _load(stamps: tuple[tuple[str, int, int, int], ...]) -> Images:
    paths = [Path(stamp[0]) for stamp in stamps]
    images, labels, val_images, val_labels = (
        read(path, dimensions) for path, dimensions in zip(paths, [3, 1] * 2, strict=True)
    )
    for part, names in ((images, labels), paths[:2]), ((val_images, val_labels), paths[2:]):
        _require_pairs(*part, *names)
    if images.shape[1:] != val_images.shape[1:]:
        sizes = " and ".join("x".join(map(str, part.shape[1:])) for part in (images, val_images))
        raise DataError(f"{paths[0]} and {paths[2]} hold images of different sizes, {sizes}; they must be of one set")
    pixels_NT = np.concatenate([images, val_images]).reshape(len(images) + len(val_images), -1)
    labels_N = np.concatenate([labels, val_labels]).astype(np.int64)
    for array in (pixels_NT, labels_N):
        array.setflags(write=False)  # shared by all runs of the process
    return Images(
        pixels_NT=pixels_NT,
        labels_N=labels_N,
        n_pool=len(images),
        n_classes=max(2, int(labels_N.max()) + 1),
        sha256=digest_of(images, labels, val_images, val_labels),
    )


def read(path: Path, dimensions: int) -> Bytes:
    """The array in one file. Raises DataError unless it holds unsigned bytes in so many dimensions, all of them."""
    try:
        with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            shape = _shape(file, path, dimensions)
            size = math.prod(shape)
            values = file.read(min(size, MAX_BYTES) + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} cannot be unpacked ({error}); {TRY_AGAIN}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    if size > MAX_BYTES:
        raise DataError(f"{path} says that it holds {size:,} values; at most {MAX_BYTES:,} can be used")
    if len(values) != size:
        found = "more" if len(values) > size else f"{len(values):,}"
        raise DataError(
            f"{path} should hold {size:,} values ({'x'.join(map(str, shape))}), and has {found}; {TRY_AGAIN}"
        )
    return np.frombuffer(values, np.uint8).reshape(shape)


def _shape(file: BinaryIO, path: Path, dimensions: int) -> tuple[int, ...]:
    header = file.read(4 + 4 * dimensions)
    wanted = bytes([0, 0, 8, dimensions])
    if header[:4] != wanted:
        what = "images" if dimensions == 3 else "labels"
        raise DataError(
            f"{path} begins with {header[:4].hex(' ') or 'nothing'}, an IDX file of {what} with {wanted.hex(' ')}; "
            "is it under the right name, and .gz only if it is packed?"
        )
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path} ends within its header; {TRY_AGAIN}")
    shape: tuple[int, ...] = struct.unpack(f">{dimensions}I", header[4:])
    if not math.prod(shape):
        raise DataError(f"{path} is empty ({'x'.join(map(str, shape))})")
    return shape


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    names = ", ".join(f"{part}-{kind}" for part in PARTS for kind in DIMENSIONS)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; it should hold {names} (each may end in .gz)")
    raise DataError(f"{folder} has no {name} or {name}.gz; there should be {names}")


def _require_pairs(images: Bytes, labels: Bytes, images_path: Path, labels_path: Path) -> None:
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images):,} images and {labels_path} {len(labels):,} labels; there should be one "
            "label for each image"
        )
