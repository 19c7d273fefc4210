"""What Power et al. 2022 and the course blog need: tasks, an end token, noise, decays, dropout, maps of the output."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from grokjax import optim
from grokjax.experiment.places import ConfigError
from grokjax.keys import Purpose, key_for
from grokjax.measurements import cosets, projection, subgroups, tsne
from grokjax.models import Model, n_parameters, tensor_names
from grokjax.models.transformer import dropout
from grokjax.models.transformer_settings import TransformerSettings
from grokjax.optim import SGD, AdamW
from grokjax.splits import add_label_noise
from grokjax.tasks import make_table
from grokjax.tasks.characters import Characters, characters_with_values
from grokjax.tasks.modular import Modular
from grokjax.tasks.permutation import Permutation, group_elements, product_table
from grokjax.tasks.rot13 import Rot13, Rot13Strings
from grokjax.tasks.written import Written, default_names
from grokjax.training import one_run, passes
from tests.test_training import TRANSFORMER, OneRun

POWER = TransformerSettings(
    n_layers=2, ln="post", mlp_bias=False, positions="sinusoidal", init="nanda"
)
BLANKS = [["a", "b", "?"], ["b", "?", "a"], ["?", "a", "b"]]

# -- tasks -------------------------------------------------------------------------------------------------------------


def test_characters_are_residues_under_other_names():
    character = characters_with_values(7, 3)
    value = {int(c): v for v, c in enumerate(character)}
    assert sorted(value) == list(range(7)) and list(character) != list(range(7))
    table = make_table(Characters(n=7, value_seed=3, operation="x-y"))
    for (x, y), (z,) in zip(table.operands_N2.tolist(), table.targets_NA.tolist(), strict=True):
        assert value[z] == (value[x] - value[y]) % 7
    assert len({tuple(row) for row in table.operands_N2.tolist()}) == 49


@pytest.mark.soak
def test_hidden_values_change_nothing_but_names():
    """The same equations train, and with rows of embedding and unembedding exchanged alike, curves are the same."""
    plain = OneRun(task={"kind": "modular", "p": 7})
    hidden = OneRun(task={"kind": "characters", "n": 7, "value_seed": 5})
    character = np.append(characters_with_values(7, 5), 7)  # '=' keeps its name
    np.testing.assert_array_equal(
        hidden.table.tokens_NT, character[np.asarray(plain.table.tokens_NT)]
    )
    state = plain.start()
    place = np.argsort(
        character
    )  # row i of the renamed matrix is the row of the residue that i stands for
    renamed = state.params | {
        "W_E": state.params["W_E"][place],
        "W_U": state.params["W_U"][:, place],
    }
    other = hidden.start().replace(params=renamed)
    np.testing.assert_array_equal(other.rows.train_N, state.rows.train_N)
    dense = jax.jit(plain.setup.model.dense)
    ours = dense(renamed, jnp.asarray(hidden.table.tokens_NT))
    # The same products in the same order: bit for bit.
    np.testing.assert_array_equal(
        np.asarray(ours)[..., character], dense(state.params, jnp.asarray(plain.table.tokens_NT))
    )
    for _ in range(
        30
    ):  # sums over classes have another order, so from here on equal up to rounding
        state, found = plain.evaluate(state)
        other, renamed_found = hidden.evaluate(other)
        for name, value in found.items():
            np.testing.assert_allclose(renamed_found[name], value, rtol=2e-4, atol=1e-6)
        state, other = plain.train(state), hidden.train(other)


def test_rot13():
    table = make_table(Rot13())
    letters = "abcdefghijklmnopqrstuvwxyz"
    rotated = "nopqrstuvwxyzabcdefghijklm"
    assert [letters[i] for i in table.targets_NA[:, 0]] == list(rotated)
    assert table.tokens_NT.tolist() == [[i] for i in range(26)]


@pytest.mark.parametrize("letters", [1, 5])
def test_rot13_of_strings(letters):
    sample = make_table(Rot13Strings(letters=letters, n_train=10))
    rows, targets = sample.draw_rows(jax.random.key(0), 10)
    np.testing.assert_array_equal(targets, (np.asarray(rows.tokens_NT) + 13) % 26)
    np.testing.assert_array_equal(rows.at_NA, np.tile(np.arange(letters), (10, 1)))
    assert sample.n_scored == letters and len(np.unique(rows.tokens_NT)) > 3


def test_a_table_that_is_written_out():
    table = make_table(Written(cells=BLANKS))  # type: ignore[arg-type]
    assert table.known_N.tolist() == [True, True, False, True, False, True, False, True, True]
    assert table.targets_NA[table.known_N, 0].tolist() == [0, 1, 1, 0, 0, 1]
    assert table.tokens_NT[1].tolist() == [0, 3, 1, 4]
    assert default_names(28)[25:] == ["z", "a1", "b1"]


@pytest.mark.soak
def test_blanks_neither_train_nor_validate():
    one = OneRun(task={"kind": "written", "cells": BLANKS}, split={"kind": "blanks"})
    state = one.start()
    np.testing.assert_array_equal(state.rows.train_N, one.table.known_N)
    _, found = one.evaluate(state)
    assert np.isnan(found["val_accuracy"]) and np.isfinite(found["train_loss"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cells": [["a", "?"], ["b"]]}, "row 2 has 1 entries; give it 2"),
        (
            {"cells": [["a", "?"], ["b", "x"]]},
            "x in row 2 is no letter of this table; use a, b or '?'",
        ),
        ({"cells": [["a", "b"], ["b", "a"]]}, "no entry is '?'"),
        ({"cells": [["?", "?"], ["?", "?"]]}, "all entries are '?'"),
        ({"cells": [["a", "?"], ["b", "a"]], "letters": ["a", "a"]}, "must be 2 different names"),
    ],
)
def test_a_table_that_is_none(changes, words):
    with pytest.raises(ValidationError) as caught:
        Written(**changes)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("task", "split", "words"),
    [
        (
            {"kind": "written", "cells": BLANKS},
            {"kind": "random"},
            "random would train on entries that are blank",
        ),
        (
            {"kind": "modular", "p": 5},
            {"kind": "blanks"},
            "all answers of this task are known; use random",
        ),
    ],
)
def test_blanks_are_a_split_of_their_own(task, split, words):
    with pytest.raises(ConfigError, match=words):
        OneRun(task=task, split=split)


@pytest.mark.parametrize("settings", [Modular(operation="x/y", p=97, format="| a op b = c |", n_vocab=239),
                                      Permutation(format="| a op b = c |", n_vocab=239)])  # fmt: skip
def test_the_tokens_of_openai_grok(settings):
    """End token on both sides; answer and end token are scored; 239 tokens."""
    table = make_table(settings)
    n = table.n_answers
    end, op, equals = n, n + 1, n + 2
    assert table.n_vocab == table.n_classes == 239 and table.answer_positions == (4, 5)
    for tokens, targets in zip(table.tokens_NT[::50], table.targets_NA[::50], strict=True):
        assert tokens[[0, 2, 4]].tolist() == [end, op, equals]
        assert targets.tolist() == [tokens[5], end]
    plain = make_table(settings.model_copy(update={"format": "a op b =", "n_vocab": None}))
    np.testing.assert_array_equal(table.targets_NA[:, :1], plain.targets_NA)


@pytest.mark.soak
def test_a_row_is_right_if_answer_and_end_token_are():
    one = OneRun(task={"kind": "modular", "p": 5, "format": "| a op b = c |"})
    state = one.start()
    _, found = one.evaluate(state)
    logits = np.asarray(one.setup.model.dense(state.params, jnp.asarray(one.table.tokens_NT)))
    right = (logits.argmax(-1) == one.table.targets_NA).all(1)
    train = np.asarray(state.rows.train_N)
    assert float(found["train_accuracy"]) == pytest.approx(right[train].mean())
    assert float(found["val_accuracy"]) == pytest.approx(right[~train].mean())


def test_label_noise_leaves_the_end_token():
    targets = jnp.array([[0, 5], [3, 5], [4, 5]])
    noisy = add_label_noise(jax.random.key(0), targets, jnp.ones(3, bool), 3, 5)
    assert (noisy[:, 0] != targets[:, 0]).all() and (noisy[:, 1] == 5).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"n_vocab": 99}, "99 is less than the 100 tokens that occur"), ({"classes": "p"}, "no class for the end token")],
)  # fmt: skip
def test_tokens_that_do_not_fit(changes, words):
    with pytest.raises(ValidationError, match=words):
        Modular(p=97, format="| a op b = c |", **changes)


def test_the_model_of_power_has_393216_numbers_in_its_matrices():
    model = Model(POWER, make_table(Modular(p=97, format="| a op b = c |", n_vocab=239)))
    inner = {k: v for k, v in tensor_names(model.shapes()).items() if k.startswith("blocks")}
    assert sum(x.size for x in inner.values() if x.ndim == 2) == 393_216
    assert not any(".b_" in name for name in inner)
    norms = 2 * 2 * 2 * 128
    assert n_parameters(model) == 393_216 + norms + 2 * 239 * 128


# -- optimisers --------------------------------------------------------------------------------------------------------

W = {"W": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.3, -0.1])}
GRADS = {"W": jnp.array([[0.1, 0.2], [-0.3, 0.4]]), "b": jnp.array([0.5, -0.6])}


def one_update(s, params=W, initial=W, key=7):
    numbers = {"learning_rate": 0.1, "warmup": 0, "key": jax.random.key(key)}
    numbers |= {k: getattr(s, k) for k in ("weight_decay", "beta1", "beta2", "eps", "l2", "momentum", "noise_scale")
                if hasattr(s, k)}  # fmt: skip
    return optim.update(s, numbers, 0, GRADS, optim.init_optimizer(s, initial), params)[0]


def test_noise_on_the_update():
    plain = one_update(SGD(learning_rate=0.1))
    noisy = one_update(SGD(learning_rate=0.1, noise="update", noise_scale=0.5))
    keys = jax.random.split(jax.random.key(7), 2)
    for k, name in zip(keys, ("W", "b"), strict=True):
        drawn = np.asarray(jax.random.normal(k, W[name].shape))
        np.testing.assert_allclose(noisy[name], plain[name] - 0.1 * 0.5 * drawn, rtol=1e-5)
    assert (one_update(SGD(learning_rate=0.1, noise="update"))["W"] == plain["W"]).all()


def test_noise_on_the_weights_is_where_the_gradient_is_taken():
    s = AdamW(weight_decay=1.0, noise="weights", noise_scale=0.25)
    seen = optim.seen_weights(s, {"noise_scale": 0.25, "key": jax.random.key(7)}, W)
    drawn = jax.random.normal(jax.random.split(jax.random.key(7), 2)[0], (2, 2))
    np.testing.assert_allclose(seen["W"], W["W"] + 0.25 * drawn, rtol=1e-6)
    quiet = AdamW(weight_decay=1.0)
    assert optim.seen_weights(quiet, {"noise_scale": 0.0}, W) is W


@pytest.mark.soak
@pytest.mark.parametrize("noise", ["update", "weights"])
def test_a_run_with_noise_differs_from_step_to_step_and_is_repeated(noise):
    changes = {
        "optimizer": {"kind": "sgd", "learning_rate": 0.1, "noise": noise, "noise_scale": 0.1}
    }
    (one, two, other) = (OneRun(**changes), OneRun(**changes), OneRun(noise_seed=5, **changes))
    ends = []
    for run in (one, two, other):
        state = run.start()
        for _ in range(3):
            state = run.train(run.evaluate(state)[0])
        ends.append(np.asarray(state.params["W_E"]))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert (ends[0] != ends[2]).mean() > 0.9
    numbers = one.hyper.optimizer
    keys = [jax.random.fold_in(key_for(Purpose.OPTIMIZER, 0), age) for age in (0, 1)]
    first, second = (optim.add_noise(W, numbers["noise_scale"], k)["W"] for k in keys)
    assert (first != second).all()


def test_decay_to_the_initial_weights():
    moved = {"W": W["W"] + 1.0, "b": W["b"]}
    to_zero = one_update(SGD(l2=0.2, learning_rate=0.1), moved)
    to_initial = one_update(SGD(l2=0.2, learning_rate=0.1, decay_form="to_initial"), moved)
    np.testing.assert_allclose(to_initial["W"], -0.1 * (GRADS["W"] + 0.2 * 1.0), rtol=1e-5)
    np.testing.assert_allclose(to_zero["W"], -0.1 * (GRADS["W"] + 0.2 * moved["W"]), rtol=1e-5)
    np.testing.assert_allclose(to_initial["b"], -0.1 * GRADS["b"], rtol=1e-5)


@pytest.mark.parametrize("decays", ["all", "by_group"])
def test_a_restart_keeps_what_weights_decay_towards(decays):
    s = AdamW(weight_decay=1.0, decay_form="to_initial", decays=decays)
    state = optim.init_optimizer(s, W)
    used = jax.tree.map(lambda x: x + 1, state)
    again = optim.restart(used)
    kept = jax.tree.map(lambda x: x + 1, W)
    found = [x for x in jax.tree.leaves(again) if np.any(np.asarray(x))]
    expected = jax.tree.leaves(kept)
    assert len(found) == len(expected) < len(jax.tree.leaves(again))
    for x, y in zip(sorted(found, key=np.size), sorted(expected, key=np.size), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_decay_that_jiggles():
    drawn = np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(7), 0), (2,)))
    update = one_update(SGD(l2=0.2, learning_rate=0.1, decay_form="jiggle"))
    for z, name in zip(drawn, ("W", "b"), strict=True):
        np.testing.assert_allclose(
            update[name], -0.1 * (GRADS[name] + 0.2 * z * W[name]), rtol=1e-5
        )


@pytest.mark.parametrize("form", ["to_initial", "jiggle"])
def test_only_matrices_decay_if_asked_for(form):
    s = SGD(l2=0.2, learning_rate=0.1, decay_form=form, decays="matrices")
    moved = {"W": W["W"] + 1.0, "b": W["b"] + 1.0}
    update = one_update(s, moved)
    np.testing.assert_allclose(update["b"], -0.1 * GRADS["b"], rtol=1e-5)
    assert (np.abs(update["W"] + 0.1 * GRADS["W"]) > 1e-4).all()


def test_noise_without_a_kind_is_refused():
    with pytest.raises(ValidationError, match="no effect with noise: none"):
        SGD(noise_scale=0.1)


# -- dropout -----------------------------------------------------------------------------------------------------------


def test_dropout_keeps_the_mean():
    drop, x = dropout(0.3, jax.random.key(0)), jnp.ones((400, 50))
    y = np.asarray(drop(x, 0))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-6)
    assert abs((y == 0).mean() - 0.3) < 0.02 and abs(y.mean() - 1) < 0.03
    assert (np.asarray(drop(x, 1)) != y).any()


@pytest.mark.soak
@pytest.mark.parametrize("stream", [False, True])
def test_training_drops_and_evaluation_does_not(stream):
    changes = {"model": TRANSFORMER | {"dropout": 0.4, "n_layers": 2}}
    if stream:
        changes |= {"task": {"kind": "rot13_strings", "n": 5, "letters": 3, "n_test": 8},
                    "split": {"kind": "drawn"}, "train": {"steps": 9, "eval_every": 3, "batch_size": 12}}  # fmt: skip
    one, plain = (
        OneRun(**(changes | {"model": changes["model"] | {"dropout": d}})) for d in (0.4, 0.0)
    )
    state = one.start()
    key = jax.random.key(3)
    data = passes.data_of(one.setup, one.data, one.hyper, 0)
    if stream:
        data = passes.training_data(one.setup, one.data, one.hyper, 0)
    batch = passes.batch_of(one.setup, data, data.targets_NA, jnp.arange(9), jnp.ones(9))

    def mean_of_loss(setup, *keys):
        return float(
            passes.loss_and_gradient(setup, data, one.hyper, state.params, batch, *keys)[0]
        )

    quiet = mean_of_loss(plain.setup)
    first, again, other = (mean_of_loss(one.setup, jax.random.key(k)) for k in (3, 3, 4))
    assert first == again and len({first, other, quiet}) == 3
    rows = passes._batch_rows(one.setup, data.train_input, batch)
    nothing = one.setup.model.module.clone(
        s=one.settings.model.model_copy(update={"dropout": 1e-9})
    )
    at = rows.at_NA if stream else one.table.answer_positions
    tokens = rows.tokens_NT if stream else rows
    np.testing.assert_allclose(
        nothing.apply({"params": state.params}, tokens, at, key, method="dense"),
        one.setup.model.dense(state.params, rows),
        atol=1e-6,
    )
    measured, expected = one.evaluate(state)[1], plain.evaluate(state)[1]
    np.testing.assert_array_equal(measured["val_loss"], expected["val_loss"])
    ages = [one_run._key_of_step(Purpose.DROPOUT, one.hyper, state.replace(age=a)) for a in (0, 1)]
    assert (jax.random.key_data(ages[0]) != jax.random.key_data(ages[1])).any()


def test_dropout_of_everything_is_refused():
    with pytest.raises(ValidationError, match="less than 1"):
        TransformerSettings(dropout=1.0)


# -- maps of the output matrix -----------------------------------------------------------------------------------------


def compose(x, y):
    """First x, then y."""
    return tuple(y[i] for i in x)


@pytest.mark.soak
def test_cosets_of_the_dihedral_group_of_order_10():
    """12 left and 12 right cosets of each of 6 conjugates, against products of tuples."""
    elements = group_elements("S5")
    partitions = list(cosets.partitions_of(elements, ("(0,3)(1,4)", "(1,2)(3,4)")))
    assert len(partitions) == 12
    every = [tuple(e) for e in elements.tolist()]
    for left, number in partitions:
        assert np.bincount(number).tolist() == [10] * 12
        group = {every[i] for i in np.flatnonzero(number == number[every.index((0, 1, 2, 3, 4))])}
        assert {compose(a, b) for a, b in itertools.product(group, group)} == group
        for x in every[::17]:
            mates = {every[i] for i in np.flatnonzero(number == number[every.index(x)])}
            assert mates == {compose(x, h) if left else compose(h, x) for h in group}
    assert len({tuple(n.tolist()) for _, n in partitions}) == 12


def planted(number, spread, rng):
    centres = rng.normal(size=(number.max() + 1, 16))
    return centres[number] + spread * rng.normal(size=(len(number), 16))


@pytest.mark.soak
def test_planted_cosets_are_found():
    rng, elements, s = np.random.default_rng(0), group_elements("S5"), cosets.Cosets()
    left, number = list(cosets.partitions_of(elements, s.generators))[7]
    found = cosets.score(s, {"rows": planted(number, 0.1, rng), "permutations": elements})
    assert found["purity"] == 1.0 and found["silhouette"] > 0.6 and bool(found["left"]) == left
    assert found["chance_purity"] < 0.45 and found["chance_silhouette"] < 0.05
    assert cosets.purity_of(found["coset"], number) == 1.0
    nothing = cosets.score(s, {"rows": rng.normal(size=(120, 16)), "permutations": elements})
    assert nothing["purity"] < nothing["chance_purity"] + 0.06


@pytest.mark.parametrize(
    ("group", "generators", "words"),
    [
        ("S4", ("(0,3)(1,4)",), "moves point 4, and the points are 0 to 3"),
        ("A5", ("(0,1)",), "is not in the group"),
        ("S3", ("(0,1)", "(0,2)"), "make one of them"),
        ("S4", ("(0,1,2,3)",), None),
    ],
)
def test_generators_that_say_nothing(group, generators, words):
    told = cosets.misfit(cosets.Cosets(generators=generators), group_elements(group))
    assert told is None if words is None else told is not None and words in told


def test_generators_are_cycles():
    with pytest.raises(ValidationError, match="must be cycles"):
        cosets.Cosets(generators=("0 1",))


def test_a_planted_circle_is_found():
    n, k = 31, 5
    angle = 2 * np.pi * k * np.arange(n) / n
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(10, 2)))[0]
    points = np.stack([np.cos(angle), np.sin(angle)], 1) @ plane.T + 0.01 * rng.normal(size=(n, 10))
    found = projection.shares_of_frequencies(projection.Circles(), {"points": points})
    assert found["share"].argmax() + 1 == k and found["share"].max() > 0.99
    assert found["share"].sum() == pytest.approx(1)


@pytest.mark.soak
def test_the_map_is_the_same_every_time_and_keeps_clusters_apart():
    rng = np.random.default_rng(0)
    number = np.repeat(np.arange(4), 15)
    rows = planted(number, 0.05, rng)
    first, second = (tsne.embed(tsne.TSNE(), {"points": rows})["points"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    centres = np.stack([first[number == i].mean(0) for i in range(4)])
    nearest = np.linalg.norm(first[:, None] - centres, axis=-1).argmin(1)
    assert (nearest == number).all()


@pytest.mark.parametrize(
    ("group", "number", "classes"),
    [
        ("S3", 6, 2),
        ("S4", 30, 9),
        pytest.param("A5", 59, 7, marks=pytest.mark.soak),
        ("S5", 156, 17),
    ],
)
def test_every_subgroup_is_found(group, number, classes):
    """Numbers of subgroups, and of classes of conjugates without the two trivial ones, from the tables of groups."""
    elements = group_elements(group)
    products = product_table(elements)
    found = subgroups.all_subgroups(products)
    assert len(found) == number
    for members in found:
        assert {products[a, b] for a, b in itertools.product(members, members)} == {*members}
    named = subgroups.classes_of(elements)
    assert len(named) == classes
    assert sum(len(conjugates) for conjugates in named.values()) == number - 2


def test_a_planted_subgroup_is_told_from_those_that_were_not():
    """Rows that are alike within the left cosets of one subgroup of order 6 of S4, against sums by hand."""
    rng, elements = np.random.default_rng(0), group_elements("S4")
    named = subgroups.classes_of(elements)
    (name,) = (n for n in named if n.startswith("6"))
    members = named[name][1]
    products = product_table(elements)
    number = np.unique(products[:, list(members)].min(1), return_inverse=True)[1]
    rows = planted(number, 0.05, rng)
    found = subgroups.score(subgroups.Subgroups(), {"rows": rows, "permutations": elements})
    by_name = dict(zip(named, zip(found["share"], found["chance"], strict=True), strict=True))
    assert by_name[name][0] > 0.98 and by_name[name][1] < 0.5
    inside = [n for n, sets in named.items() if any({*h} <= {*members} for h in sets)]
    for other, (share, chance) in by_name.items():
        assert (share > 0.98) == (other in inside), other
        assert chance < 0.75
    assert (found["chance"] <= found["chance_largest"]).all() and (
        found["chance_largest"] < 1
    ).all()
    centred = rows - rows.mean(0)
    means = np.stack([centred[number == c].mean(0) for c in range(4)])
    assert by_name[name][0] == pytest.approx(6 * (means**2).sum() / (centred**2).sum(), rel=1e-12)


def test_subgroups_of_rows_that_are_not_finite_are_not_told():
    elements = group_elements("S3")
    for rows in (np.full((6, 4), np.nan), np.ones((6, 4))):
        found = subgroups.score(subgroups.Subgroups(), {"rows": rows, "permutations": elements})
        assert np.isnan(found["share"]).all() and found["order"].tolist() == [3.0, 2.0]
