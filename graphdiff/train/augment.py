"""Augmentation: random changes to batches of images that leave what they show as it is.

An augmentation is a function of a batch and a stream of random numbers; `fit` and `minibatches` take one as `augment`.
Batches are arrays of shape (examples, height, width, channels), and every image is changed by numbers of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphdiff.errors import DataError, DTypeError, ShapeError
from graphdiff.host import HostArray
from graphdiff.train.scaling import blocks_of
from graphdiff.typing import ArrayLike

__all__ = ["Augmentation", "colour_pca", "compose", "crop", "flip", "zoom"]

Augmentation = Callable[[Any, np.random.Generator], Any]
"""Of a batch and a random stream; returns a changed copy."""


def _require_images(images: HostArray, *, floating: bool = False) -> None:
    if images.ndim != 4:
        raise ShapeError(
            f"augmentation takes images of shape (examples, height, width, channels), not {images.dtype}"
            f"{list(images.shape)}; grey ones have a last axis of length 1"
        )
    if floating and images.dtype.kind != "f":
        raise DTypeError(f"intensities are floating numbers here, not {images.dtype}: divide them by their greatest")


def compose(*steps: Augmentation) -> Augmentation:
    """Return the augmentation that makes several changes, one after the other.

    Examples
    --------
    >>> import numpy as np
    >>> from graphdiff.train import augment
    >>> change = augment.compose(augment.crop(padding=2), augment.flip())
    >>> change(np.ones((5, 8, 8, 3)), np.random.default_rng(0)).shape
    (5, 8, 8, 3)
    """

    def change(images: HostArray, stream: np.random.Generator) -> HostArray:
        for step in steps:
            images = step(images, stream)
        return images

    return change


def flip(horizontal: float = 0.5, vertical: float = 0.0) -> Augmentation:
    """Return an augmentation that mirrors images: left and right are exchanged, or top and bottom.

    Parameters
    ----------
    horizontal, vertical : float
        With which probability.

    Examples
    --------
    >>> import numpy as np
    >>> from graphdiff.train import augment
    >>> image = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
    >>> augment.flip(horizontal=1)(image, np.random.default_rng(0)).ravel()
    array([3., 2., 1.])
    """
    if not (0 <= horizontal <= 1 and 0 <= vertical <= 1):
        raise DataError(f"probabilities of flipping are in [0, 1], not {horizontal} and {vertical}")

    def change(images: HostArray, stream: np.random.Generator) -> HostArray:
        _require_images(images)
        images = images.copy()
        for axis, share in ((2, horizontal), (1, vertical)):
            flipped = stream.random(len(images)) < share
            images[flipped] = np.flip(images[flipped], axis)
        return images

    return change


def crop(height: int | None = None, width: int | None = None, padding: int = 0) -> Augmentation:
    """Return an augmentation that cuts a rectangle out of each image, at a random place.

    Parameters
    ----------
    height, width : int, optional
        Of the rectangle, in pixels; by default the image's own.
    padding : int
        So many pixels of zeros are added on each side first. With that and the image's own size, images are shifted.

    Examples
    --------
    >>> import numpy as np
    >>> from graphdiff.train import augment
    >>> augment.crop(24, 24)(np.ones((5, 28, 28, 1)), np.random.default_rng(0)).shape
    (5, 24, 24, 1)
    """
    if padding < 0 or any(length is not None and length < 1 for length in (height, width)):
        raise DataError(f"no crop: {height} × {width} pixels, with {padding} added on each side")

    def change(images: HostArray, stream: np.random.Generator) -> HostArray:
        _require_images(images)
        count, rows, columns, _ = images.shape
        size = (height or rows, width or columns)
        room = rows + 2 * padding - size[0], columns + 2 * padding - size[1]
        if min(room) < 0:
            raise ShapeError(
                f"no {size[0]} × {size[1]} pixels can be cut out of {rows} × {columns} and {padding} around"
            )
        padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))
        tops, lefts = (stream.integers(0, free + 1, count) for free in room)
        return np.ascontiguousarray(np.moveaxis(windows[np.arange(count), tops, lefts], 1, 3))

    return change


def zoom(least: float = 0.9, most: float = 1.1) -> Augmentation:
    """Return an augmentation that enlarges each image about its centre, and keeps its size in pixels.

    Between pixels it interpolates linearly; what is beyond an image's edge looks like the edge.

    Parameters
    ----------
    least, most : float
        Between these the factor is drawn, uniformly; below 1 images become smaller.

    Examples
    --------
    >>> import numpy as np
    >>> from graphdiff.train import augment
    >>> image = np.array([0.0, 2.0, 4.0, 6.0]).reshape(1, 1, 4, 1)
    >>> augment.zoom(2, 2)(image, np.random.default_rng(0)).ravel()
    array([1.5, 2.5, 3.5, 4.5])
    """
    if not 0 < least <= most < float("inf"):
        raise DataError(f"factors of a zoom are positive, the least before the most, not {least} and {most}")

    def change(images: HostArray, stream: np.random.Generator) -> HostArray:
        _require_images(images, floating=True)
        factors = stream.uniform(least, most, len(images))
        upright = _resampled(images, factors)
        return np.ascontiguousarray(_resampled(upright.swapaxes(1, 2), factors).swapaxes(1, 2))

    return change


def _resampled(images: HostArray, factors: HostArray) -> HostArray:
    """Return images enlarged by their factors along the first axis of each."""
    length = images.shape[1]
    centre = (length - 1) / 2
    places = np.clip(centre + (np.arange(length) - centre) / factors[:, None], 0, length - 1)
    below = np.minimum(places.astype(np.intp), max(length - 2, 0))
    share = (places - below).astype(images.dtype)[:, :, None, None]
    each = np.arange(len(images))[:, None]
    images = (1 - share) * images[each, below] + share * images[each, np.minimum(below + 1, length - 1)]
    return images


def colour_pca(images: ArrayLike, deviation: float = 0.1) -> Augmentation:
    """Return an augmentation that changes colours along the directions in which those of the training images vary.

    To every pixel of an image is added Σ αᵢ·λᵢ·pᵢ, where pᵢ and λᵢ are eigenvectors and eigenvalues of the covariance
    of the channels, and αᵢ ~ N(0, deviation²) are drawn once per image. Krizhevsky, Sutskever and Hinton, ImageNet
    classification with deep convolutional neural networks, 2012, section 4.1.

    Parameters
    ----------
    images : array of shape (examples, height, width, channels)
        The training images, which may be a map of a file, with the intensities that will be augmented. Since an
        eigenvalue is a variance, these are meant to lie between 0 and 1.
    deviation : float
        Of α.

    Examples
    --------
    >>> import numpy as np
    >>> from graphdiff.train import augment
    >>> stream = np.random.default_rng(0)
    >>> images = stream.uniform(size=(20, 8, 8, 3))
    >>> shifts = augment.colour_pca(images)(images, stream) - images
    >>> bool(np.allclose(shifts, shifts[:, :1, :1]))
    True
    """
    images = np.asarray(images)
    _require_images(images, floating=True)
    if not 0 <= deviation < float("inf"):
        raise DataError(f"a standard deviation is not negative, not {deviation}")
    values, vectors = np.linalg.eigh(_covariance(images))
    scaled = vectors * (deviation * values)

    def change(batch: HostArray, stream: np.random.Generator) -> HostArray:
        _require_images(batch, floating=True)
        if batch.shape[3] != len(scaled):
            raise ShapeError(f"the colours are of {len(scaled)} channels, and images of {batch.shape[3]} were given")
        shifts = stream.normal(size=(len(batch), len(scaled))) @ scaled.T
        batch = batch + shifts[:, None, None, :].astype(batch.dtype)
        return batch

    return change


def _covariance(images: HostArray) -> HostArray:
    """Return the covariance of the channels over all pixels, in float64."""
    channels = images.shape[3]
    count = images.size // channels
    mean = sum(block.sum(axis=(0, 1, 2), dtype="float64") for block in blocks_of(images)) / count
    total = np.zeros((channels, channels))
    for block in blocks_of(images):
        pixels = block.reshape(-1, channels) - mean
        total += pixels.T @ pixels
    total /= count
    return total
