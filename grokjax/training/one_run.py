"""One run: its state, its step, its evaluation. The functions are pure and do not depend on other runs.

Order of a block: if an evaluation is due, evaluate and decide whether the run continues. If it continues, train
`cadence.unit` steps.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from grokjax import interventions, optim
from grokjax.keys import Purpose, key_for, order_of
from grokjax.losses import per_answer
from grokjax.models import Model, Params
from grokjax.probes import measure
from grokjax.probes.norms import update_lengths
from grokjax.probes.view import View, tree_norm
from grokjax.splits import Rows, add_label_noise, draw_split, training_index
from grokjax.training import passes
from grokjax.training.runstate import (
    DIVERGED,
    FINISHED,
    RUNNING,
    STOPPED,
    Data,
    Hyper,
    RunState,
    Setup,
)


def init_run(setup: Setup, data: Data, hyper: Hyper) -> RunState:
    """A run at step 0, not yet evaluated."""
    params = passes.init_params(setup, hyper)
    zeros = jax.tree.map(jnp.zeros_like, params)
    needs = setup.requires
    zero = jnp.int32(0)
    return RunState(
        params=params,
        opt_state=optim.init_optimizer(setup.settings.optimizer, params),
        rows=init_rows(setup, data, hyper),
        age=zero,
        evaluations=zero,
        status=jnp.int32(RUNNING),
        hold=zero,
        after=jnp.int32(-1),
        diverged_at=jnp.int32(-1),
        sum_loss=jnp.float32(0),
        max_loss=jnp.float32(-jnp.inf),
        grads=zeros if "gradients" in needs else None,
        updates=zeros if "gradients" in needs else None,
        previous=params if "previous" in needs else None,
        update_length=jax.tree.map(jnp.zeros_like, update_lengths(params))
        if "update_length" in needs
        else None,
        snapshot=params if setup.snapshot_every else None,
        intervention=interventions.start_watching() if setup.settings.intervention else None,
    )


def init_rows(setup: Setup, data: Data, hyper: Hyper) -> Rows:
    """Draw which rows train and which labels are wrong."""
    data = passes.data_of(setup, data, hyper, 0)
    split_key = key_for(Purpose.SPLIT, hyper.seeds["split_seed"])
    noise_key = key_for(Purpose.LABEL_NOISE, hyper.seeds["noise_seed"])
    train_N = draw_split(split_key, data.strata_UW, hyper.counts, setup.n_rows)
    vectors = setup.model.table.answers == "vectors"  # which have no wrong labels
    labels_NA = None if setup.stream or vectors else data.targets_NA
    if setup.label_noise:
        assert labels_NA is not None, "put there by data_of; a stream has no label noise"
        n_answers = setup.model.table.n_answers
        labels_NA = add_label_noise(noise_key, labels_NA, train_N, hyper.n_noisy, n_answers)
    return Rows(training_index(train_N, setup.bucket), train_N, labels_NA)


def train_block(setup: Setup, data: Data, hyper: Hyper, state: RunState) -> RunState:
    """Train `cadence.unit` steps. The state of a run that has ended does not change."""
    if setup.stream:
        trained = jax.lax.fori_loop(
            0, setup.cadence.unit, lambda _, s: fresh_step(setup, data, hyper, s), state
        )
        return _if_running(trained, state)
    if setup.batch_size is None:
        data, index_B, weights_B = passes.full_batch(setup, data, hyper, state.rows)

        def one(_: jax.Array, s: RunState) -> RunState:
            return step(setup, data, hyper, s, index_B, weights_B)

        trained = jax.lax.fori_loop(0, setup.cadence.unit, one, state)
    else:
        data = passes.data_of(setup, data, hyper, 0)
        epochs = setup.cadence.unit // setup.batches
        trained = jax.lax.fori_loop(
            0, epochs, lambda _, s: train_epoch(setup, data, hyper, s), state
        )
    return _if_running(trained, state)


def _if_running(trained: RunState, state: RunState) -> RunState:
    going = state.status == RUNNING
    return jax.tree.map(lambda new, old: jnp.where(going, new, old), trained, state)


def fresh_step(setup: Setup, data: Data, hyper: Hyper, state: RunState) -> RunState:
    """One optimiser step on rows of a stream, which nothing else ever trains on."""
    data = passes.training_data(setup, data, hyper, state.age)
    all_B = None if setup.model.table.traced_size else jnp.arange(setup.bucket)
    return step(setup, data, hyper, state, all_B, jnp.ones(setup.bucket))


def train_epoch(setup: Setup, data: Data, hyper: Hyper, state: RunState) -> RunState:
    """One pass over the training rows in a new order. Only the last batch can have padding."""
    assert setup.batch_size is not None
    index_B, weights_B = epoch_order(setup, hyper, state)
    length = setup.batches * setup.batch_size
    missing = max(0, length - setup.bucket)
    index = jnp.pad(index_B, (0, missing))[:length].reshape(setup.batches, -1)
    weights = jnp.pad(weights_B, (0, missing))[:length].reshape(setup.batches, -1)

    def one(s: RunState, batch: tuple[jax.Array, jax.Array]) -> tuple[RunState, None]:
        return step(setup, data, hyper, s, *batch), None

    return jax.lax.scan(one, state, (index, weights))[0]


def epoch_order(setup: Setup, hyper: Hyper, state: RunState) -> tuple[jax.Array, jax.Array]:
    """Rows and weights (B,): the training rows in this epoch's random order, then padding with weight 0."""
    key = key_for(Purpose.ORDER, hyper.seeds["order_seed"])
    key = jax.random.fold_in(key, state.age // setup.batches)
    real_B = jnp.arange(setup.bucket) < hyper.n_train
    score = jnp.where(real_B, jax.random.uniform(key, (setup.bucket,)), 2.0)
    return state.rows.index_B[order_of(score)], real_B.astype(jnp.float32)


def step(
    setup: Setup,
    data: Data,
    hyper: Hyper,
    state: RunState,
    index_B: jax.Array | None,
    weights_B: jax.Array,
) -> RunState:
    """One optimiser step on the given rows (passes.batch_of)."""
    labels_NA = data.targets_NA if state.rows.labels_NA is None else state.rows.labels_NA
    assert labels_NA is not None, "of a stream, put there by training_data"
    batch = passes.batch_of(setup, data, labels_NA, index_B, weights_B)
    kind = setup.settings.optimizer
    numbers = hyper.optimizer | {"key": _key_of_step(Purpose.OPTIMIZER, hyper, state)}
    with passes.precision(setup):
        loss, grads = passes.loss_and_gradient(
            setup,
            data,
            hyper,
            optim.seen_weights(kind, numbers, state.params),
            batch,
            _key_of_step(Purpose.DROPOUT, hyper, state),
        )
    updates, opt_state = optim.update(
        kind, numbers, state.age, grads, state.opt_state, state.params
    )
    needs = setup.requires
    return state.replace(  # type: ignore[attr-defined]
        params=jax.tree.map(jnp.add, state.params, updates),
        opt_state=opt_state,
        age=state.age + 1,
        sum_loss=state.sum_loss + loss,
        max_loss=jnp.maximum(state.max_loss, loss),
        grads=grads if "gradients" in needs else None,
        updates=updates if "gradients" in needs else None,
        update_length=jax.tree.map(jnp.add, state.update_length, update_lengths(updates))
        if "update_length" in needs
        else None,
    )


def _key_of_step(purpose: Purpose, hyper: Hyper, state: RunState) -> jax.Array:
    """A random key of this step. Where nothing is drawn from it, the compiler leaves it out."""
    return jax.random.fold_in(key_for(purpose, hyper.seeds["noise_seed"]), state.age)


def is_due(setup: Setup, state: RunState) -> jax.Array:
    """Whether the run is running and its next evaluation is due."""
    at_step = state.age == setup.cadence.step_of(state.evaluations)
    return at_step & (state.status == RUNNING)


def make_view(setup: Setup, data: Data, hyper: Hyper, state: RunState) -> View:
    """What probes see: the logits from one forward pass over the whole table, and fields of the state."""
    data = passes.data_of(setup, data, hyper, state.age)
    scale = hyper.model["readout_scale"]
    assert data.targets_NA is not None, "put there by data_of"

    def apply(params: Params, model: Model = setup.model) -> jax.Array:
        with passes.precision(setup):
            return passes.table_logits(setup, data, model, params) * scale

    before = jnp.maximum(state.evaluations - 1, 0)
    steps = state.age - setup.cadence.step_of(before)
    return View(
        model=setup.model,
        params=state.params,
        logits_NAC=apply(state.params),
        targets_NA=data.targets_NA,
        rows=state.rows,
        label_noise=setup.label_noise,
        mirror_N=data.mirror_N,
        per_row_loss=per_answer(setup.settings.train.loss, setup.model.table),
        mean_loss=state.sum_loss / steps,
        max_loss=jnp.where(steps > 0, state.max_loss, jnp.nan),
        grads=state.grads,
        updates=state.updates,
        previous=state.previous,
        update_length=state.update_length,
        steps=steps,
        init_params=lambda: passes.init_params(setup, hyper),
        tokens_NT=passes.tokens_of(setup, data),
        apply=apply,
        features=lambda params: setup.model.features(params, data.table_input),
    )


def measure_run(
    setup: Setup, data: Data, hyper: Hyper, state: RunState, every: int
) -> dict[str, jax.Array]:
    """The values of the probes that are measured at every `every`-th evaluation."""
    with passes.precision(setup):
        measured = measure(setup.probes(every), make_view(setup, data, hyper, state))
    if every == 1 and state.intervention is not None:
        fired_at = state.intervention.fired_at
        measured["intervened_at"] = jnp.where(fired_at < 0, jnp.nan, fired_at.astype(jnp.float32))
    return measured


def take_weights(setup: Setup, state: RunState) -> Params | None:
    """The snapshot after this evaluation: the current parameters if a snapshot is due, else the previous snapshot."""
    if setup.snapshot_every is None:
        return None
    now = state.evaluations % setup.snapshot_every == 0
    return jax.tree.map(lambda new, old: jnp.where(now, new, old), state.params, state.snapshot)


def conclude(
    setup: Setup, hyper: Hyper, state: RunState, measured: dict[str, jax.Array]
) -> RunState:
    """The state after an evaluation: the status follows from stop rule, budget and finiteness. A run whose evaluation
    is not due does not change."""
    done = state.evaluations + 1
    hold = jnp.where(measured["val_accuracy"] >= hyper.stop["level"], state.hold + 1, 0)
    met = hold >= hyper.stop["hold"]
    after = jnp.where(state.after >= 0, state.after + 1, jnp.where(met, 0, -1))
    finite = jnp.isfinite(measured["train_loss"]) & jnp.isfinite(tree_norm(state.params))
    status = jnp.where(done >= hyper.budget, FINISHED, RUNNING)
    status = jnp.where((after >= 0) & (after >= hyper.stop["then"]), STOPPED, status)
    status = jnp.where(finite, status, DIVERGED)
    concluded = state.replace(  # type: ignore[attr-defined]
        evaluations=done,
        hold=hold,
        after=after,
        status=status.astype(jnp.int32),
        diverged_at=jnp.where(finite, state.diverged_at, state.age),
        sum_loss=jnp.zeros_like(state.sum_loss),
        max_loss=jnp.full_like(state.max_loss, -jnp.inf),
        previous=None if state.previous is None else state.params,
        update_length=jax.tree.map(jnp.zeros_like, state.update_length),
        snapshot=take_weights(setup, state),
    )
    if setup.settings.intervention is not None:
        concluded = _intervene(setup, hyper, concluded, measured)
    due = is_due(setup, state)
    return jax.tree.map(lambda new, old: jnp.where(due, new, old), concluded, state)


def _intervene(
    setup: Setup, hyper: Hyper, state: RunState, measured: dict[str, jax.Array]
) -> RunState:
    """The state after the intervention. It acts also at the last evaluation of the budget, because a larger budget
    continues from this state without evaluating it again."""
    chosen = setup.settings.intervention
    assert not (chosen is None or hyper.intervention is None or state.intervention is None)
    params, opt_state, watch = interventions.intervene(
        chosen,
        hyper.intervention,
        setup.model,
        (state.params, state.opt_state, state.intervention),
        state.age,
        measured,
        key_for(Purpose.INTERVENTION, hyper.seeds["noise_seed"]),
    )
    return state.replace(  # type: ignore[attr-defined]
        params=params, opt_state=opt_state, intervention=watch
    )
