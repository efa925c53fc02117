"""Labelled images in a folder of the user's (MNIST: Liu et al. 2022, Omnigrok, Fan et al. 2024).

The pool to draw training sets from is the training files; validation is the t10k files, or a random part of them. So,
unlike the tables of arithmetic, what is not trained on is not validated on either: 58,000 unused images would cost more
than the training.

Pixels are scaled from 0..255 to [0, 1] and nothing more, as torchvision's ToTensor does and the papers' code with it;
subtracting MNIST's mean is another convention, and the scale of the inputs moves the border between the phases as the
scale of the weights does.
"""

from trainers.config import RunConfig
from trainers.errors import DataError
from trainers.tasks.data import Table
from trainers.tasks.idx import Images, load


def pool_size(folder: str | None) -> int:
    """Images that a training set may be drawn from."""
    return _load(folder).n_pool


def val_size(config: RunConfig) -> int:
    """Images that the run is validated on."""
    there = _load(config.folder).n_val
    return there if config.val_size is None else min(config.val_size, there)


def planned_images(folder: str | None, sha256: str | None) -> Images:
    """Raises DataError if the files are not those that runs were planned with."""
    data = _load(folder)
    if data.sha256 != sha256:
        raise DataError(
            f"the images in {folder} have changed: the sweep was planned with files of sha256 {_short(sha256)}, these "
            f"have {_short(data.sha256)}; put the old files back, or launch the spec into another folder with --out"
        )
    return data


def table(config: RunConfig) -> Table:
    data = planned_images(config.folder, config.data_sha256)
    return Table(
        inputs_NT=data.pixels_NT,
        labels_N=data.labels_N,
        n_classes=data.n_classes,
        n_pool=data.n_pool,
    )


def _load(folder: str | None) -> Images:
    if folder is None:
        raise DataError("a task of images needs the folder that they lie in: `task: {kind: images, folder: ...}`")
    return load(folder)


def _short(sha256: str | None) -> str:
    return f"{sha256[:12]}..." if sha256 else "unknown"
