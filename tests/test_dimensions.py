"""Dimensions of features and rows, leverage, polygons and reconstruction: definitions, probes and the measurement."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from grokjax.measurements import geometry
from grokjax.measurements.saved import Saved
from grokjax.probes import dimensionality, measure
from grokjax.training import one_run, passes
from tests import reference
from tests.made_results import MLP, PARITY, TRANSFORMER, Made
from tests.test_resume import also_in_soak
from tests.test_training import OneRun, named_params

# Definitions ----------------------------------------------------------------------------------------------------------


def points(n: int, m: int, seed: int = 0) -> np.ndarray:
    """Vectors of very different lengths."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, m)) * rng.uniform(0.1, 3, (n, 1))


def by_pairs(vectors_NM: np.ndarray) -> np.ndarray:
    """Henighan et al. 2023, one vector after the other: |v|^2 / sum over j of (unit v . v_j)^2."""
    found = []
    for v in vectors_NM:
        size = np.linalg.norm(v)
        found.append(size**2 / sum((v @ w / size) ** 2 for w in vectors_NM) if size > 0 else 0.0)
    return np.array(found)


def share(v: np.ndarray, vectors_NM: np.ndarray, i: int) -> float:
    """The share of vector i in the energy of the direction v."""
    along = (vectors_NM @ v) ** 2
    return along[i] / along.sum()


def largest_share(vectors_NM: np.ndarray, i: int) -> float:
    """The supremum over directions: over a fine circle in the plane, else by climbing from several starts."""
    m = vectors_NM.shape[1]
    if m == 2:
        angle = np.linspace(0, np.pi, 20_001)
        along = (vectors_NM @ np.stack([np.cos(angle), np.sin(angle)])) ** 2
        return (along[i] / along.sum(0)).max()
    starts = np.random.default_rng(i).normal(size=(6, m))
    climbs = (optimize.minimize(lambda v: -share(v, vectors_NM, i), v, tol=1e-10) for v in starts)
    return max(-climb.fun for climb in climbs)


def both(name: str, vectors_NM: np.ndarray):
    """What the measurement and what the probe computes."""
    host = getattr(geometry, name)(vectors_NM)
    device = jax.jit(getattr(dimensionality, name))(jnp.asarray(vectors_NM, jnp.float32))
    np.testing.assert_allclose(device, host, atol=1e-4, rtol=1e-3)
    return host


@pytest.mark.parametrize(("n", "m"), [(7, 2), *also_in_soak((3, 5), (40, 4), (1, 3))])
def test_dimensions_are_those_of_all_pairs(n, m):
    vectors_NM = points(n, m)
    vectors_NM[n // 2] *= n == 1
    np.testing.assert_allclose(both("dimensions", vectors_NM), by_pairs(vectors_NM), rtol=1e-9)


@pytest.mark.parametrize(("n", "m"), [(7, 2), (9, 4), *also_in_soak((30, 3), (4, 4), (60, 2))])
def test_leverage_is_the_largest_share_of_a_direction(n, m):
    vectors_NM = points(n, m)
    expected = [largest_share(vectors_NM, i) for i in range(n)]
    np.testing.assert_allclose(both("leverages", vectors_NM), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("n", "m", "rank"),
    [(8, 3, 3), (3, 8, 3), (12, 6, 2), *also_in_soak((40, 64, 40), (100, 20, 7), (50, 30, 30))],
)
def test_leverages_sum_up_to_the_rank(n, m, rank):
    vectors_NM = points(n, m)
    if rank < min(n, m):
        vectors_NM = points(n, rank) @ points(rank, m, seed=1)
    assert np.linalg.matrix_rank(vectors_NM) == rank
    vectors_NM[0] = 0
    found = both("leverages", vectors_NM)
    rank = np.linalg.matrix_rank(vectors_NM)
    assert found.sum() == pytest.approx(rank, abs=1e-6)
    assert found[0] == 0 and found.min() >= 0 and found.max() < 1 + 1e-9


def test_memorised_rows_are_above_shared_ones_and_these_above_confused_ones():
    """Four rows with a direction of their own, three directions that five rows share each, and rows between those."""
    rng = np.random.default_rng(0)
    memorised = np.eye(7)[:4] * [[1], [0.8], [1.3], [1]]
    shared = np.repeat(np.eye(7)[4:], 5, 0) * rng.uniform(0.8, 1.2, (15, 1))
    confused = np.c_[np.zeros((10, 4)), 0.15 * rng.normal(size=(10, 3))]
    rows = np.concatenate([memorised, shared, confused]) + 0.01 * rng.normal(size=(29, 7))
    found = both("leverages", rows)
    assert found[:4].min() > 0.95 > 0.4 > found[4:19].max()
    assert (
        found[4:19].min() > 0.08 > found[19:].mean()
        and found[4:19].min() > np.median(found[19:]) * 2
    )
    assert both("dimensions", rows)[:4].min() > 0.9


@pytest.mark.parametrize("n", [3, 5, 8])
def test_a_regular_polygon(n):
    angle = 2 * np.pi * np.random.default_rng(n).permutation(n) / n + 0.3
    corners = 1.7 * np.stack([np.cos(angle), np.sin(angle)], 1)
    np.testing.assert_allclose(both("dimensions", corners), 2 / n, rtol=1e-9)
    np.testing.assert_allclose(both("leverages", corners), 2 / n, rtol=1e-9)
    assert geometry.gap(corners) == pytest.approx(0, abs=1e-12)
    # One corner moved by a tenth of an angle: one gap is 10 % too wide.
    angle[0] += 0.1 * 2 * np.pi / n
    moved = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert geometry.gap(moved) == pytest.approx(0.1, abs=1e-9)


def test_polygons_are_in_the_plane_and_have_two_corners():
    assert np.isnan(geometry.gap(points(5, 3))) and np.isnan(geometry.gap(points(1, 2)))
    assert geometry.gap(np.array([[1.0, 0], [-2.0, 0]])) == pytest.approx(0, abs=1e-12)
    assert geometry.gap(np.array([[1.0, 0], [2.0, 0]])) == pytest.approx(1)


def test_vectors_of_zeros_have_no_dimension():
    vectors_NM = np.array([[0.0, 0], [0, 0], [3, 4]])
    np.testing.assert_allclose(both("dimensions", vectors_NM), [0, 0, 1])
    np.testing.assert_allclose(both("leverages", vectors_NM), [0, 0, 1], atol=1e-12)
    np.testing.assert_array_equal(both("dimensions", np.zeros((2, 3))), 0)
    np.testing.assert_array_equal(both("leverages", np.zeros((2, 3))), 0)


# Probes and the measurement -------------------------------------------------------------------------------------------

SPARSE = {
    "task": {
        "kind": "sparse_features",
        "n_features": 6,
        "sparsity": 0.5,
        "n_train": 5,
        "n_test": 9,
        "importance": 0.8,
    },
    "split": {"kind": "drawn"},
    "model": {"kind": "bottleneck"},
    "optimizer": {"kind": "adamw", "learning_rate": 3e-2, "weight_decay": 0.1},
    "train": {"steps": 30, "eval_every": 10, "loss": "squared_error"},
    "probes": [{"kind": "reconstruction"}, {"kind": "dimensionality"}],
}
CLASSES = {"loss": "cross_entropy"}
RUNS = {
    "tied": {},
    "untied": {"model": {"kind": "bottleneck", "tied": False, "n_hidden": 3, "activation": "relu"}},
    "block": {
        "model": {"kind": "perceptron", "hidden": [4]},
        "task": SPARSE["task"] | {"n_read": 3},
    },
    "clusters": {
        "task": {
            "kind": "clusters",
            "n_inputs": 4,
            "n_classes": 3,
            "n_clusters": 3,
            "n_train": 5,
            "n_test": 9,
        },
        "model": {"kind": "perceptron", "hidden": [4]},
        "train": SPARSE["train"] | CLASSES,
        "probes": [{"kind": "dimensionality"}],
    },
}


class Seen:
    """A run after a block of training, what its probes say, and what the measurement says."""

    def __init__(self, **changes):
        self.one = one = OneRun(**(SPARSE | changes))
        self.settings = one.settings

        @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
        def seen(hyper):
            state = one_run.init_run(one.setup, one.data, hyper)
            state = state.replace(evaluations=state.evaluations + 1)
            state = one_run.train_block(one.setup, one.data, hyper, state)
            data = passes.data_of(one.setup, one.data, hyper, state.age)
            view = one_run.make_view(one.setup, one.data, hyper, state)
            saved = Saved(
                view,
                None,
                data.table_input,
                1.0,
                jnp.ones(1, bool),
                jax.random.key(0),
                lambda *_: None,
            )  # type: ignore[arg-type]
            found = geometry.geometry(geometry.Geometry(inputs=True), saved)
            own = data.table_input, data.targets_NA, view.rows.train_N
            return state, measure(one.setup.probes(1), view), found, own

        state, self.values, found, own = seen(one.hyper)
        self.named = named_params(state)
        self.inputs, self.targets, self.train_N = map(np.asarray, own)
        found = {name: np.asarray(x) for name, x in found.items()}
        self.found = geometry.describe(geometry.Geometry(), found)

    def vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Hidden vectors of the training rows, and vectors of the features, by NumPy."""
        x, w = self.inputs[self.train_N].astype(float), self.named
        bottleneck = self.settings.model.kind == "bottleneck"
        hidden = x @ w["W_E"] if bottleneck else x @ w["W_0"] + w["b_0"]
        if self.settings.model.activation == "relu":
            hidden = np.maximum(hidden, 0)
        return hidden, w["W_U"].T if "W_U" in w else w["W_E"]


@pytest.mark.parametrize("name", ["tied", *also_in_soak("untied", "block", "clusters")])
def test_probes_and_measurement_agree_with_numpy(name):
    seen = Seen(**RUNS[name])
    hidden, feature = seen.vectors()
    assert seen.train_N.sum() == 5 and len(seen.train_N) == 17
    row, own, m = by_pairs(hidden), by_pairs(feature), hidden.shape[1]
    U, size, _ = np.linalg.svd(hidden, full_matrices=False)
    leverage = (U[:, size > 1e-5 * size[0]] ** 2).sum(1)
    norm = np.linalg.norm(feature, axis=1)
    expected = {
        "feature_dimension_max": own.max(),
        "feature_share": own.sum() / m,
        "features_kept": (norm > 0.8 * norm.max()).sum(),
        "row_dimension_max": row.max(),
        "row_share": row.sum() / m,
        "leverage_max": leverage.max(),
        "leverage_min": leverage.min(),
        "dictionary_share": (row > 0.5).mean(),
    }
    for name, value in expected.items():
        assert float(seen.values[name]) == pytest.approx(value, rel=1e-3, abs=1e-4), name
    found, trains = seen.found, seen.train_N[:8]
    for name, value in {
        "hidden": hidden,
        "row_dimension": row,
        "leverage": leverage,
        "inputs": seen.inputs[seen.train_N],
    }.items():
        assert np.isnan(found[name][~trains]).all() and len(found[name]) == 8
        np.testing.assert_allclose(found[name][trains], value, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(found["feature"], feature, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["feature_dimension"], own, rtol=1e-4)
    if m == 2:
        np.testing.assert_allclose(found["row_gap"], geometry.gap(hidden), rtol=1e-3, atol=1e-5)
        kept = feature[norm > 0.8 * norm.max()]
        np.testing.assert_allclose(found["feature_gap"], geometry.gap(kept), rtol=1e-3)
    else:
        assert np.isnan(found["row_gap"]) and np.isnan(found["feature_gap"])
    check_answers(seen)


def check_answers(seen: Seen) -> None:
    """Loss and rightness of each row, and the probe `reconstruction`, by NumPy."""
    s, train_N = seen.settings, seen.train_N
    outputs = reference.logits(seen.named, s.model, seen.one.table, seen.inputs)[:, 0]
    wanted = seen.targets[:, 0]
    if s.train.loss == "cross_entropy":
        each, right = reference.cross_entropy(outputs, wanted), outputs.argmax(1) == wanted
    else:
        each = reference.squared_error(outputs, wanted.astype(float), s.task.importance_C)
        right = (outputs.argmax(1) == wanted.argmax(1)) & (wanted.max(1) > 0)
        # A tie between outputs is wrong.
        right &= np.sort(outputs, 1)[:, -1] > np.sort(outputs, 1)[:, -2]
        for side, mask in (("train", train_N), ("val", np.arange(len(train_N)) >= 8)):
            per_active = each[mask].sum() / (wanted[mask] != 0).sum()
            missed = ((outputs - wanted)[mask] ** 2).sum() / (wanted[mask] ** 2).sum()
            assert float(seen.values[f"{side}_loss_per_active"]) == pytest.approx(
                per_active, rel=1e-4
            )
            assert float(seen.values[f"{side}_unexplained"]) == pytest.approx(missed, rel=1e-4)
    np.testing.assert_allclose(seen.found["loss"][train_N[:8]], each[train_N], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(seen.found["right"][train_N[:8]], right[train_N])


@pytest.mark.soak
@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {k: v for k, v in SPARSE.items() if k not in ("train", "optimizer")}
        | {"train": {"steps": 40, "eval_every": 5, "snapshot_every": 2, "loss": "squared_error"}},
        {"model": MLP},
        {"model": TRANSFORMER},
        PARITY,
    ],
    ids=["bottleneck", "mlp", "transformer", "two classes"],
)
def test_the_measurement_fits_its_labels_for_every_model(changes, inputs, tmp_path):
    directory = Made(tmp_path / "x", **changes)
    found = directory.measure(kind="geometry", at="all", inputs=inputs)
    for run, _, weights, one in directory.each(found):
        train_N = directory.rows(run)[3][: one.sizes["row"]]
        np.testing.assert_array_equal(np.isfinite(one["row_dimension"]), train_N)
        leverage = np.asarray(one["leverage"])[train_N]
        hidden = np.asarray(one["hidden"], float)[train_N]
        assert leverage.sum() == pytest.approx(np.linalg.matrix_rank(hidden, rtol=1e-5), abs=1e-3)
        matrix = weights["W_E"] if run.settings.model.kind == "bottleneck" else weights["W_U"].T
        np.testing.assert_allclose(one["feature"], matrix, rtol=1e-6)
        np.testing.assert_allclose(one["feature_dimension"], by_pairs(matrix), rtol=1e-4)
        assert ("inputs" in one) == inputs
