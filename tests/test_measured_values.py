"""What measurements find in random weights, against NumPy, brute force and explicit Jacobians."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from grokjax.measurements import kernel, sharpness
from grokjax.measurements.projection import principal_components
from tests import reference
from tests.made_results import BASE, PARITY, STEPS, TRANSFORMER, Made


def is_right(logits_NAC, wanted_NA):
    """The label's logit is above all others; a tie is wrong."""
    others = logits_NAC.copy()
    np.put_along_axis(others, wanted_NA[..., None], -np.inf, -1)
    label = np.take_along_axis(logits_NAC, wanted_NA[..., None], -1)[..., 0]
    return label > others.max(-1)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Made]:
    """A directory for each model."""
    path = tmp_path_factory.mktemp("made")
    return {
        "mlp": Made(path / "mlp", split=BASE["split"] | {"label_noise": 0.2}),
        "transformer": Made(path / "transformer", model=TRANSFORMER),
        "perceptron": Made(path / "perceptron", **PARITY),
    }


EVERY_MODEL = pytest.mark.parametrize("model", ["mlp", "transformer", "perceptron"])
ONE_MODEL = pytest.mark.parametrize(
    "model",
    ["mlp", *(pytest.param(m, marks=pytest.mark.soak) for m in ("transformer", "perceptron"))],
)


# Sharpness --------------------------------------------------------------------------------------------------------


@ONE_MODEL
def test_sharpness_starts_from_the_training_loss_and_no_point_of_the_box_is_above_it(made, model):
    """Loss by the reference in float64; random corners of the box are not above the largest loss found."""
    found, rng = (
        made[model].measure(kind="sharpness", epsilon=1e-2, steps=40, at="all"),
        np.random.default_rng(0),
    )
    for run, _, weights, one in made[model].each(found):
        _, _, labels_NA, train_N = made[model].rows(run)

        def loss(w, run=run, labels_NA=labels_NA, train_N=train_N):
            loss_of = reference.LOSSES[run.settings.train.loss]
            per_NA = loss_of(made[model].logits(run, w), labels_NA)
            return per_NA[train_N].mean()

        before, largest = float(one["loss"]), float(one["largest_loss"])
        assert before == pytest.approx(loss(weights), rel=1e-4, abs=1e-5)
        assert float(one["sharpness"]) == pytest.approx(
            100 * (largest - before) / (1 + before), rel=1e-4, abs=1e-3
        )
        corners = [
            {
                n: w + 1e-2 * (np.abs(w) + 1) * rng.choice([-1, 1], w.shape)
                for n, w in weights.items()
            }
            for _ in range(20)
        ]
        assert largest >= max(loss(corner) for corner in corners) - 1e-4
        assert largest > before
        inputs, targets_NA, _, train_N = made[model].rows(run)
        right = is_right(made[model].logits(run, weights, inputs), targets_NA)[~train_N].mean()
        assert float(one["val_accuracy"]) == pytest.approx(right, abs=1e-6)


def test_the_largest_value_of_a_bowl_in_a_box_is_at_its_corner():
    rng = np.random.default_rng(0)
    w, b, a = (rng.uniform(0.5, 2, size=7) * rng.choice([-1, 1], 7) for _ in range(3))
    b, a = np.abs(b), np.abs(a)
    for steps in (4, 20, 100):
        found = sharpness.largest_in_box(
            lambda p: (a * p["w"] ** 2).sum(), {"w": w.astype(np.float32)}, {"w": b}, steps
        )
        assert float(found) == pytest.approx((a * (np.abs(w) + b) ** 2).sum(), rel=1e-5)


def test_a_summit_within_the_box_is_found_by_small_steps():
    start, bound = {"w": np.zeros(3, np.float32)}, {"w": np.ones(3)}
    top = np.array([0.3, -0.5, 0.9])
    found = sharpness.largest_in_box(lambda p: -((p["w"] - top) ** 2).sum(), start, bound, 80)
    assert -0.01 < float(found) <= 0


# Pruning ----------------------------------------------------------------------------------------------------------


@ONE_MODEL
def test_pruning_is_numpys_forward_pass_with_the_small_weights_gone(made, model) -> None:
    directory, thresholds = made[model], [0, 0.05, 0.4, 2]
    found = directory.measure(kind="pruning", at="all", thresholds=thresholds)
    for run, _, weights, one in directory.each(found):
        _, targets_NA, labels_NA, train_N = directory.rows(run)
        flat = np.concatenate([w.ravel() for w in weights.values()])
        for i, threshold in enumerate(thresholds):
            at = one.isel(threshold=i)
            pruned = {n: np.where(np.abs(w) < threshold, 0, w) for n, w in weights.items()}
            logits = directory.logits(run, pruned)
            assert at["threshold"] == threshold
            assert np.isclose(at["share_pruned"], (np.abs(flat) < threshold).mean())
            for side, mask, wanted in (
                ("train", train_N, labels_NA),
                ("val", ~train_N, targets_NA),
            ):
                loss = reference.LOSSES[run.settings.train.loss](logits, wanted)[mask].mean()
                right = is_right(logits, wanted)[mask].mean()
                assert np.isclose(at[f"{side}_loss"], loss, rtol=1e-4), (side, threshold)
                assert np.isclose(at[f"{side}_accuracy"], right), (side, threshold)


def test_accuracies_of_equations_with_an_end_token_count_whole_rows(tmp_path) -> None:
    """As the probe metrics does: the answer and the end token behind it must both be right."""
    task = BASE["task"] | {"format": "| a op b = c |"}
    directory = Made(
        tmp_path / "ends", task=task, model=TRANSFORMER, axes={"split_seed": list(range(12))}
    )
    pruned = directory.measure(kind="pruning", at="all", thresholds=[0])
    sharp = directory.measure(kind="sharpness", at="all", steps=1)
    differ = 0
    for (run, _, weights, one), (*_, other) in zip(
        directory.each(pruned), directory.each(sharp), strict=True
    ):
        _, targets_NA, _, train_N = directory.rows(run)
        right_NA = is_right(directory.logits(run, weights), targets_NA)[~train_N]
        assert right_NA.shape[1] == 2
        assert np.isclose(one["val_accuracy"].item(), right_NA.all(1).mean())
        assert np.isclose(other["val_accuracy"].item(), right_NA.all(1).mean())
        differ += right_NA.all(1).mean() != right_NA.mean()
    assert differ


# Neurons ----------------------------------------------------------------------------------------------------------


def layer_names(model: str) -> tuple[str, str]:
    return ("blocks.0.W_in", "blocks.0.W_out") if model == "transformer" else ("W_0", "W_U")


def only(weights, model: str, neurons) -> dict:
    """The weights with the outgoing ones of all other neurons at 0."""
    name = layer_names(model)[1]
    kept = np.zeros_like(weights[name])
    kept[list(neurons)] = weights[name][list(neurons)]
    return weights | {name: kept}


def by_norm(weights, model: str) -> list[int]:
    norms = [np.linalg.norm(column) for column in weights[layer_names(model)[0]].T]
    return sorted(range(len(norms)), key=lambda i: -norms[i])


def fewest(directory: Made, run, weights, model: str) -> tuple[int, int]:
    """Brute force: the first prefix with the full network's accuracy, and with its predictions."""
    inputs, _, labels_NA, train_N = directory.rows(run)
    order = by_norm(weights, model)
    full = directory.logits(run, weights, inputs).argmax(-1)[train_N]
    taught = labels_NA[train_N]
    prefixes = [only(weights, model, order[:k]) for k in range(1, len(order) + 1)]
    answers = [directory.logits(run, p, inputs).argmax(-1)[train_N] for p in prefixes]
    accuracy = [(a == taught).mean() == (full == taught).mean() for a in answers]
    return 1 + accuracy.index(True), 1 + [(a == full).all() for a in answers].index(True)


@pytest.mark.soak
@EVERY_MODEL
def test_the_fewest_neurons_are_those_of_brute_force(made, model) -> None:
    directory = made[model]
    found = directory.measure(kind="effective_sparsity", at="all")
    wanted = []
    for run, _, weights, one in directory.each(found):
        wanted.append(fewest(directory, run, weights, model))
        got = (one["neurons_same_accuracy"], one["neurons_same_predictions"])
        assert tuple(map(int, got)) == wanted[-1]
        assert one["neurons"] == weights[layer_names(model)[0]].shape[1]
    assert len(set(wanted)) > 2, "all the same would show nothing"


@ONE_MODEL
def test_subnetworks_are_numpys(made, model) -> None:
    directory = made[model]
    found = directory.measure(kind="subnetworks", at="all")
    for run, _, weights, one in directory.each(found):
        end = directory.weights[run.id, STEPS[-1]]
        n = fewest(directory, run, end, model)[0]
        order = by_norm(end, model)
        _, targets_NA, labels_NA, train_N = directory.rows(run)
        full = directory.logits(run, weights).argmax(-1)
        for part, neurons in (("generalising", order[:n]), ("complement", order[n:])):
            at = one.sel(part=part)
            logits = directory.logits(run, only(weights, model, neurons))
            into, out = (weights[name] for name in layer_names(model))
            squares = (into[:, neurons] ** 2).sum() + (out[neurons] ** 2).sum()
            assert at["size"] == len(neurons)
            assert np.isclose(at["norm"], squares**0.5)
            assert np.isclose(at["faithfulness"], (logits.argmax(-1) == full).mean())
            assert np.isclose(at["train_accuracy"], is_right(logits, labels_NA)[train_N].mean())
            assert np.isclose(at["val_accuracy"], is_right(logits, targets_NA)[~train_N].mean())
        assert one["size"].sel(part="control") == n


@pytest.mark.soak
def test_the_control_is_drawn_anew_for_each_run_and_stays_the_same_for_its_snapshots(made) -> None:
    directory = made["perceptron"]
    into, out = layer_names("perceptron")
    found = directory.measure(kind="subnetworks", at="all")["norm"].sel(part="control")
    chosen: dict[str, set[tuple[int, ...]]] = {}
    for i, run in enumerate(directory.runs):
        n = fewest(directory, run, directory.weights[run.id, 40], "perceptron")[0]
        for j, step in enumerate(STEPS):
            w = directory.weights[run.id, step]
            squares = (w[into] ** 2).sum(0) + (w[out] ** 2).sum(1)
            fitting = {
                c
                for c in itertools.combinations(range(len(squares)), n)
                if np.isclose(squares[list(c)].sum() ** 0.5, found[i, j], rtol=1e-5)
            }
            chosen[run.id] = chosen.get(run.id, fitting) & fitting
    assert all(len(c) == 1 for c in chosen.values())
    sets = [set(*c) for c in chosen.values()]
    # One random order for all runs would give sets of which one contains the other.
    assert any(not a <= b and not b <= a for a, b in itertools.combinations(sets, 2))


# Spectra ----------------------------------------------------------------------------------------------------------


def test_eigenvalues_are_those_of_the_hidden_activations(made) -> None:
    directory = made["mlp"]
    found = directory.measure(kind="spectrum", at="all")["eigenvalue"].to_dataset()
    for run, _, w, one in directory.each(found):
        tokens_NT, _, _, train_N = directory.rows(run)
        x = np.concatenate([w["W_E"][column] for column in tokens_NT.T], 1)
        Z = np.maximum(x @ w["W_0"] + w["b_0"], 0)
        for side, mask in (("train", train_N), ("val", ~train_N)):
            squares = np.linalg.svd(Z[mask], compute_uv=False) ** 2
            got = one["eigenvalue"].sel(rows=side)
            np.testing.assert_allclose(got, squares, rtol=1e-4, atol=1e-6 * squares[0])


@pytest.mark.parametrize("p", [5, 6])
def test_frequency_shares_are_those_of_sines_and_cosines(p, tmp_path) -> None:
    directory = Made(tmp_path / "x", task=BASE["task"] | {"p": p})
    found = directory.measure(kind="embedding_fourier", at="all")
    assert list(found["frequency"]) == list(range(1, p // 2 + 1))
    for _, _, weights, one in directory.each(found):
        numbers = weights["W_E"][:p] - weights["W_E"][:p].mean(0)
        angle = 2 * np.pi * np.outer(range(1, p // 2 + 1), range(p)) / p
        waves = np.stack([np.cos(angle), np.sin(angle)])
        size = np.where((waves**2).sum(-1) > 1e-9, (waves**2).sum(-1), np.inf)
        energy = (((waves @ numbers) ** 2).sum(-1) / size).sum(0)
        np.testing.assert_allclose(one["energy_share"], energy / (numbers**2).sum(), rtol=1e-5)


# Projections ------------------------------------------------------------------------------------------------------


def by_covariance(points):
    """Coordinates by the covariance's eigenvectors, whose largest entry is positive; shares of variance."""
    values, vectors = np.linalg.eigh(np.cov(points.T))
    first = vectors[:, [-1, -2]]
    first = np.stack([v if max(v, key=abs) > 0 else -v for v in first.T], 1)
    return (points - points.mean(0)) @ first, values[[-1, -2]] / values.sum()


@pytest.mark.parametrize("model", ["mlp", "transformer"])
def test_projections_are_those_on_the_covariances_eigenvectors(made, model) -> None:
    directory = made[model]
    found = directory.measure(kind="pca", of="both", rows_y=3, at="all")
    assert list(found["token"]) == list(range(6)) and list(found["x"]) == list(range(5))
    for run, _, weights, one in directory.each(found):
        rows = [i for i, (x, y) in enumerate(run.table.operands_N2) if y == 3]
        points = {"embedding": weights["W_E"], "logits": directory.logits(run, weights)[rows, 0]}
        for name, x in points.items():
            xy, share = by_covariance(x)
            np.testing.assert_allclose(one[name], xy, atol=1e-3)
            np.testing.assert_allclose(one[f"{name}_share"], share, atol=1e-4)


def test_a_projection_of_a_diverged_run_is_nan_and_of_one_dimension_flat() -> None:
    xy, share = principal_components(np.array([[1.0, np.nan], [2, 3]]))
    assert np.isnan(xy).all() and np.isnan(share).all()
    xy, share = principal_components(np.array([[1.0], [3.0]]))
    assert xy.tolist() == [[-1, 0], [1, 0]] and share.tolist() == [1, 0]


# Attention --------------------------------------------------------------------------------------------------------


def test_attention_entropy_is_numpys(made) -> None:
    directory = made["transformer"]
    found = directory.measure(kind="attention_entropy", at="all")
    for run, _, w, one in directory.each(found):
        stream = w["W_E"][directory.rows(run)[0]] + w["W_pos"]
        heads = []
        for own in (slice(0, 3), slice(3, 6)):
            q, k = (stream @ w[f"blocks.0.W_{x}"][:, own] for x in "QK")
            scores = np.where(np.tri(3), q @ k.swapaxes(1, 2) / 3**0.5, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True))
        a = sum(heads) / 2
        entropy = [-sum(x * np.log(x) for x in row if x > 0) for row in a.reshape(-1, 3)]
        by_position = np.mean(np.reshape(entropy, (-1, 3)), 0)
        np.testing.assert_allclose(one["entropy_by_position"][0], by_position, atol=1e-5)
        np.testing.assert_allclose(one["entropy"][0], by_position.mean(), atol=1e-5)


# Tangent kernel ---------------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize(("model", "most"), [("mlp", 2**24), ("mlp", 500), ("perceptron", 2**24)])
def test_the_kernels_distance_is_that_of_explicit_jacobians(made, model, most, monkeypatch) -> None:
    """On all training rows: complex steps through NumPy's forward pass, no automatic differentiation."""
    monkeypatch.setattr(kernel, "MOST", most)
    directory = made[model]
    found = directory.measure(kind="ntk", n_rows=1000, at="all")
    grams = {}
    for run, step, weights, one in directory.each(found):
        inputs, _, _, train_N = directory.rows(run)

        def total(params, row, run=run):
            logits = directory.logits(run, params, row[None])
            # Two classes share one output f, whose logits are -f/2 and f/2.
            one_output = logits[..., 1:] - logits[..., :1]
            return (one_output if model == "perceptron" else logits).sum((-1, -2, -3))

        jacobian = [
            np.concatenate(
                [
                    g.ravel()
                    for g in reference.gradient(lambda p, x=x: total(p, x), weights).values()
                ]
            )
            for x in inputs[train_N]
        ]
        grams[step] = np.array(jacobian) @ np.array(jacobian).T
        distance = np.linalg.norm(grams[step] - grams[0]) / np.linalg.norm(grams[0])
        np.testing.assert_allclose(one["distance"], distance, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(one["norm"], np.linalg.norm(grams[step]), rtol=1e-4)
        assert one["rows"] == train_N.sum()


@pytest.mark.soak
def test_the_kernel_of_fewer_rows_uses_training_rows_of_each_run(made) -> None:
    directory = made["mlp"]
    found = directory.measure(kind="ntk", n_rows=1, at=[0])
    for i, run in enumerate(directory.runs):
        inputs, _, _, train_N = directory.rows(run)
        weights = directory.weights[run.id, 0]
        squares = []
        for row in inputs[train_N]:
            f = lambda p, x=row, r=run: directory.logits(r, p, x[None]).sum((-1, -2, -3))  # noqa: E731
            squares.append(sum((g**2).sum() for g in reference.gradient(f, weights).values()))
        assert np.isclose(squares, found["norm"][i, 0].item(), rtol=1e-4).any()
        assert found["rows"][i, 0] == 1
    # Here the bucket has one row more than the 21 that train.
    assert (made["perceptron"].measure(kind="ntk", n_rows=20)["rows"] == 20).all()
