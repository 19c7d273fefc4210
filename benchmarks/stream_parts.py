"""`python -m benchmarks.stream_parts`: what a step of workload G consists of, each part alone on one core.

With gradients, at the sizes of the step (128 rows of 85 tokens, width 48, four heads, read at 30 positions). Attention
is measured in both of its forms.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

N, T, A, D, H, C = 128, 85, 30, 48, 4, 128
ROWS_OF_A_PART = 32


def main() -> None:
    one_core = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {one_core}".strip()
    for name, milliseconds in _parts().items():
        print(f"| {name} | {milliseconds:.2f} |", flush=True)


def _time(f: Callable[..., Any], *inputs: Any) -> float:
    """Milliseconds of a call: the fastest of forty."""
    import jax

    compiled = jax.jit(f)
    jax.block_until_ready(compiled(*inputs))
    took = []
    for _ in range(40):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*inputs))
        took.append(time.perf_counter() - began)
    return 1e3 * min(took)


def _parts() -> dict[str, float]:
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    from grokjax.losses import cross_entropy
    from grokjax.models import Model, forms, sequences
    from grokjax.models.linear import product
    from grokjax.models.transformer_settings import TransformerSettings
    from grokjax.tasks import make_table
    from grokjax.tasks.repetition import Repetition

    task = make_table(Repetition())
    model = Model(TransformerSettings(n_layers=2, d_model=D, n_heads=H, d_mlp=None), task)
    params = model.init(jax.random.key(0))

    def normal(*shape: int) -> jax.Array:
        return jax.random.normal(jax.random.key(sum(shape)), shape)

    def attention(n_queries: int, form: forms.Forms) -> float:
        q, k, v = (normal(ROWS_OF_A_PART, n, D) for n in (n_queries, T, T))
        at_NA = jnp.broadcast_to(jnp.arange(T - n_queries, T), (ROWS_OF_A_PART, n_queries))

        def loss(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
            with forms.using(form):
                mixed = nn.apply(
                    lambda m: sequences.attend(m.blocks[0], q, k, v, at_NA, True), model.module
                )({"params": params})
            return (mixed**2).sum()  # type: ignore[operator]

        return _time(jax.grad(loss, argnums=(0, 1, 2)), q, k, v) * N / ROWS_OF_A_PART

    weights = [normal(D, D + i) for i in range(3)]
    labels = jax.random.randint(jax.random.key(0), (N, A), 0, C)
    return {
        "attention, first layer": attention(T, forms.CPU),
        "the same, all heads together": attention(T, forms.GPU),
        "attention, second layer": attention(A, forms.CPU),
        "the same, all heads together ": attention(A, forms.GPU),
        "three products of all positions with matrices": _time(
            jax.grad(lambda x, Ws: sum((product(x, W) ** 2).sum() for W in Ws), argnums=(0, 1)),
            normal(N, T, D),
            weights,
        ),
        "unembedding and loss": _time(
            jax.grad(lambda x, W: cross_entropy(product(x, W), labels).mean(), argnums=(0, 1)),
            normal(N, A, D),
            normal(D, C),
        ),
        "drawing the rows": _time(lambda key: task.draw_rows(key, N), jax.random.key(0)),
    }


if __name__ == "__main__":
    main()
