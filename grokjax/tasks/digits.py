"""Digits: images of 8 x 8 pixels that scikit-learn ships. They stand in for MNIST, which must be downloaded."""

from __future__ import annotations

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from grokjax.settings import Settings, hyper, shape
from grokjax.tasks.sample import Sample
from grokjax.tasks.size import Size

N_IMAGES, N_TEST, N_PIXELS, N_CLASSES = 1797, 497, 64, 10
MOST = N_IMAGES - N_TEST


class Digits(Settings):
    """Handwritten digits, 64 numbers from 0 to 1 (Alpaydin & Kaynak 1998, as in scikit-learn)."""

    kind: Literal["digits"] = shape("digits")
    n_train: Annotated[int, Field(ge=1, le=MOST)] = hyper(MOST)
    """Number of training images, drawn for each run with its split_seed from the first 1,300."""

    @property
    def test_seed(self) -> int:
        """The test images are the last 497, whatever the seed."""
        return 0


def digits_size(s: Digits) -> Size:
    """Size of the images."""
    return Size(s.n_train + N_TEST, N_PIXELS + N_CLASSES, "n_train")


def digits_sample(s: Digits) -> Sample:
    """The sample of these settings."""
    from sklearn.datasets import load_digits  # 1 s: only where it is used

    images = load_digits()
    x_ND = (images.data / 16).astype(np.float32)  # type: ignore[attr-defined]
    y_N1 = images.target.astype(np.int32)[:, None]  # type: ignore[attr-defined]

    def draw_rows(key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        order_n = jax.random.permutation(key, MOST)[:n]
        return jnp.asarray(x_ND)[order_n], jnp.asarray(y_N1)[order_n]

    return Sample(
        draw_rows=draw_rows,
        draw_test=lambda key, n: (jnp.asarray(x_ND[MOST:][:n]), jnp.asarray(y_N1[MOST:][:n])),
        n_train=s.n_train,
        n_test=N_TEST,
        test_seed=s.test_seed,
        n_inputs=N_PIXELS,
        n_classes=N_CLASSES,
        n_answers=N_CLASSES,
        traced_size=True,
        n_available=MOST,
    )
