"""Augmentation of images, and batches prepared ahead."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphdiff as gd
from graphdiff.train import augment
from graphdiff.train.prefetch import prefetched

IMAGES = np.random.default_rng(8).uniform(size=(40, 6, 5, 3)).astype("float32")
EVERY = {
    "flip": augment.flip(0.5, 0.5),
    "crop": augment.crop(padding=2),
    "zoom": augment.zoom(0.7, 1.6),
    "colour_pca": augment.colour_pca(IMAGES),
    "composed": augment.compose(augment.crop(padding=1), augment.flip(), augment.zoom(), augment.colour_pca(IMAGES)),
}


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", EVERY)
def test_all_are_reproducible_and_leave_their_input_alone(name: str) -> None:
    before = IMAGES.copy()
    first, again, other = (EVERY[name](IMAGES, stream(seed)) for seed in (1, 1, 2))
    assert np.array_equal(IMAGES, before)
    assert not np.shares_memory(first, IMAGES)
    assert first.shape == IMAGES.shape
    assert first.dtype == "float32"
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert np.isfinite(first).all()
    assert EVERY[name](IMAGES[:0], stream()).shape == (0, 6, 5, 3)


def test_flips_are_flips_of_about_the_share_asked_for() -> None:
    images = np.repeat(IMAGES, 25, axis=0)
    for options, mirrored in (((0.3, 0.0), images[:, :, ::-1]), ((0.0, 0.3), images[:, ::-1])):
        changed = augment.flip(*options)(images, stream())
        flipped = (changed == mirrored).all(axis=(1, 2, 3))
        assert ((changed == images).all(axis=(1, 2, 3)) ^ flipped).all()
        assert abs(flipped.mean() - 0.3) < 0.05  # 3.5 standard deviations of 1000 draws


@given(st.integers(1, 8), st.integers(1, 7), st.integers(0, 2), st.integers(0, 99))
def test_crops_are_windows_of_the_padded_image(height: int, width: int, padding: int, seed: int) -> None:
    numbered = np.arange(1, 1 + 3 * 6 * 5).reshape(3, 6, 5, 1)
    change = augment.crop(height, width, padding)
    if height > 6 + 2 * padding or width > 5 + 2 * padding:
        with pytest.raises(gd.errors.ShapeError, match="pixels can be cut out of 6 × 5"):
            change(numbered, stream(seed))
        return
    for image, cut in zip(numbered, change(numbered, stream(seed))):
        padded = np.pad(image[..., 0], padding)
        windows = [
            padded[top : top + height, left : left + width]
            for top in range(padded.shape[0] - height + 1)
            for left in range(padded.shape[1] - width + 1)
        ]
        assert any(np.array_equal(cut[..., 0], window) for window in windows)


def test_every_place_of_a_crop_occurs() -> None:
    image = np.arange(9).reshape(1, 3, 3, 1).repeat(500, axis=0)
    assert set(augment.crop(1, 1)(image, stream()).ravel().tolist()) == set(range(9))


def test_zoom_resamples_as_scipy_does() -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="SciPy is not installed")
    changed = augment.zoom(0.6, 1.8)(IMAGES.astype("float64"), stream(5))
    factors = stream(5).uniform(0.6, 1.8, len(IMAGES))
    centre = np.array([2.5, 2.0, 0.0])
    for image, factor, got in zip(IMAGES.astype("float64"), factors, changed):
        scale = np.array([1 / factor, 1 / factor, 1.0])
        expected = ndimage.affine_transform(image, scale, centre - scale * centre, order=1, mode="nearest")
        np.testing.assert_allclose(got, expected, atol=1e-12)
    np.testing.assert_array_equal(augment.zoom(1, 1)(IMAGES, stream()), IMAGES)
    assert augment.zoom(2, 3)(IMAGES[:, :1, :1], stream()).shape == (40, 1, 1, 3)


def test_colours_vary_along_the_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    mixing = np.array([[0.3, 0.1, 0.0], [0.0, 0.2, 0.1], [0.1, 0.0, 0.1]])
    images = stream(1).normal(size=(60, 9, 8, 3)) @ mixing + 0.5
    monkeypatch.setattr(gd.train.scaling, "_BLOCK", 2000)
    change = augment.colour_pca(images, deviation=0.2)
    shifts = change(np.zeros((20000, 1, 1, 3)), stream())[:, 0, 0]
    values, vectors = np.linalg.eigh(np.cov(images.reshape(-1, 3).T, bias=True))
    alphas = shifts @ vectors / values
    assert np.abs(alphas.mean(axis=0)).max() < 0.01
    np.testing.assert_allclose(np.cov(alphas.T), 0.04 * np.eye(3), atol=0.002)
    grey = augment.colour_pca(images[..., :1])(images[..., :1], stream())
    assert grey.shape == (60, 9, 8, 1)


def test_bad_augmentation_is_refused() -> None:
    errors = gd.errors
    for make, error, message in [
        (lambda: augment.flip(1.5), errors.DataError, "probabilities"),
        (lambda: augment.crop(0), errors.DataError, "no crop: 0"),
        (lambda: augment.crop(padding=-1), errors.DataError, "no crop"),
        (lambda: augment.zoom(0, 1), errors.DataError, "factors of a zoom"),
        (lambda: augment.zoom(2, 1), errors.DataError, "factors of a zoom"),
        (lambda: augment.colour_pca(IMAGES, -1), errors.DataError, "standard deviation"),
        (lambda: augment.colour_pca(IMAGES.astype(int)), errors.DTypeError, "divide them"),
        (lambda: augment.flip()(IMAGES[0], stream()), errors.ShapeError, "not float32.6, 5, 3.; grey ones"),
        (lambda: augment.zoom()(IMAGES.astype("uint8"), stream()), errors.DTypeError, "not uint8"),
        (lambda: EVERY["colour_pca"](IMAGES[..., :2], stream()), errors.ShapeError, "3 channels, and images of 2"),
    ]:
        with pytest.raises(error, match=message):
            make()  # type: ignore[no-untyped-call]


# In minibatches and fit

LABELS = np.arange(40) % 2


def batches(**options: Any) -> list[Any]:
    return list(gd.train.minibatches((IMAGES, LABELS), 16, augment=EVERY["composed"], **options))


def test_batches_depend_on_seed_epoch_and_number_alone() -> None:
    whole, rest = batches(seed=3), batches(seed=3, first=1)
    assert all(np.array_equal(one[0], other[0]) for one, other in zip(whole[1:], rest, strict=True))
    assert not np.array_equal(whole[0][0], batches(seed=3, epoch=1)[0][0])
    # The order is not the one that the augmentation draws from.
    plain = [images for images, _ in gd.train.minibatches((IMAGES, LABELS), 16, seed=3)]
    assert [images.shape for images, _ in whole] == [images.shape for images in plain]


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_prefetched_batches_are_the_same(ahead: int) -> None:
    for one, other in zip(batches(), batches(prefetch=ahead), strict=True):
        assert all(np.array_equal(part, again) for part, again in zip(one, other, strict=True))


def fitted(**options: Any) -> dict[str, Any]:
    model = gd.nn.Sequential(gd.nn.Flatten(), gd.nn.MLP([8, 2], in_features=90))
    optimizer = gd.optim.Adam(model.parameters())
    options = {"epochs": 3, "batch_size": 16, "progress": False, "augment": EVERY["composed"], **options}
    gd.train.fit(model, gd.nn.softmax_cross_entropy, (IMAGES, LABELS), optimizer, **options)
    return model.state()


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_fit_is_the_same_with_prefetch_and_after_an_interruption(tmp_path: Path) -> None:
    class Break(gd.train.Callback):
        def on_batch(self, run: gd.train.Run) -> None:
            if (run.epoch, run.batch) == (1, 2):
                raise ConnectionError

    whole = fitted()
    assert same(fitted(prefetch=2), whole)
    assert not same(fitted(augment=None), whole)
    options: Any = {"checkpoint": tmp_path / "run", "checkpoint_every": 1, "resume": True}
    threads = threading.active_count()
    with pytest.raises(ConnectionError):
        fitted(prefetch=2, callbacks=[Break()], **options)
    assert threading.active_count() == threads
    with pytest.raises(gd.errors.DataError, match="a run with augment True, not False"):
        fitted(augment=None, **options)
    assert same(fitted(prefetch=3, **options), whole)


def test_augmentation_that_does_not_fit_is_refused_before_training() -> None:
    for change in (augment.crop(3, 3), lambda images, stream: images.astype("float64")):
        with pytest.raises(gd.errors.DataError, match="augmentation keeps shape and dtype, and this makes"):
            fitted(augment=change)
    with pytest.raises(gd.errors.DataError, match="to prepare ahead is not negative, not -1"):
        fitted(prefetch=-1)


# prefetched


def counted(made: list[int], until: int = 100) -> Iterator[int]:
    for number in range(until):
        made.append(number)
        yield number


def test_no_more_is_made_ahead_than_asked_for() -> None:
    made: list[int] = []
    source = prefetched(counted(made), 3)  # type: ignore[arg-type]
    assert [next(source), next(source)] == [0, 1]
    time.sleep(0.05)
    assert len(made) <= 2 + 3
    source.close()


def test_batches_are_made_while_the_one_before_is_used() -> None:
    began = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        began.set()
        yield 1

    ahead = prefetched(source(), 1)  # type: ignore[arg-type]
    assert next(ahead) == 0
    assert began.wait(5)
    assert list(ahead) == [1]


def test_closing_ends_the_thread_and_the_source() -> None:
    threads = threading.active_count()
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    ahead = prefetched(source(), 2)  # type: ignore[arg-type]
    next(ahead)
    assert threading.active_count() == threads + 1
    ahead.close()
    assert closed.is_set()
    assert threading.active_count() == threads


def test_an_error_comes_in_its_turn() -> None:
    threads = threading.active_count()

    def source() -> Iterator[int]:
        yield 0
        yield 1
        raise OSError("the disk is gone")

    seen: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(prefetched(source(), 5))  # type: ignore[arg-type]
    assert seen == [0, 1]
    assert threading.active_count() == threads
