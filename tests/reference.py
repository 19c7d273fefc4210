"""An independent opinion in NumPy float64: models, losses, gradients and optimisers, from the papers' definitions.

Written to be read beside the papers, not to be fast. Parameters are the flat dictionary of dotted names. Every tensor
may carry leading axes in front of its own, and so then does the result: `gradient` uses that to take all complex steps
of one tensor at once. A complex step, f(x + ih).imag / h with h = 1e-30, is exact to rounding: nothing is subtracted,
and there is no backward pass that could share a mistake with the one under test.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erf

STEP = 1e-30
"""Size of the complex step."""

UNIT = "+mlp-inpnorm"
QK_NORM = {"attn-pre", "pre", "attn-pre-qk", "peri", "attn-pre" + UNIT, "attn-pre-qk" + UNIT}
"""Placements in which queries and keys read the normalised stream (Singh et al. 2026: A*, M+A*, A^qk; Peri-LN)."""
V_NORM = {"attn-pre", "pre", "attn-pre-v", "pre-v", "peri", "attn-pre" + UNIT, "attn-pre-v" + UNIT}
"""Placements in which values do (A*, M+A*, A^v, M+A^v; Peri-LN)."""
MLP_NORM = {"pre", "mlp-pre", "pre-v", "peri"}
"""Placements in which the MLP does (M+A*, M, M+A^v; Peri-LN)."""


def as_float64(named):
    """Parameters by dotted name, whatever their arrays are, for this module."""
    return {name: np.asarray(x, np.float64) for name, x in named.items()}


# Models ---------------------------------------------------------------------------------------------------------------


def logits(params, settings, table, tokens_NT=None):
    """... N A C of a model's settings on the tokens (default: of the whole table)."""
    tokens_NT = table.tokens_NT if tokens_NT is None else tokens_NT
    return MODELS[settings.kind](params, settings, table, tokens_NT)


def transformer(params, s, table, tokens_NT):
    t = tokens_NT.shape[1]
    stream = params["W_E"][..., tokens_NT, :]
    stream = stream + (
        sinusoids(t, s.d_model) if s.positions == "sinusoidal" else spread(params["W_pos"], 1)
    )
    for layer in range(s.n_layers):
        prefix = f"blocks.{layer}."
        inner = {k.removeprefix(prefix): w for k, w in params.items() if k.startswith(prefix)}
        stream = transformer_layer(inner, s, stream)
    stream = stream[..., list(table.answer_positions), :]
    if s.final_ln:
        stream = normalise(stream, params, "ln_final", s.ln_kind, max(s.ln_eps, 1e-5))
    W_U = np.swapaxes(params["W_E"], -1, -2)[..., : table.n_classes] if s.tied else params["W_U"]
    return linear(stream, W_U, params.get("b_U"))


def transformer_layer(p, s, stream):
    def norm(x, name):
        return normalise(x, p, name, s.ln_kind, s.ln_eps)

    first = "ln1" if "ln1.w" in p else None
    q, k, v = (
        linear(norm(stream, first) if s.ln in where else stream, p[f"W_{x}"], p.get(f"b_{x}"))
        for x, where in zip("QKV", (QK_NORM, QK_NORM, V_NORM), strict=True)
    )
    attended = linear(attention(q, k, v, s.n_heads, s.causal), p["W_O"], p.get("b_O"))
    if s.ln == "peri":
        attended = norm(attended, "ln1_out")
    stream = stream + attended
    if s.ln == "post":
        stream = norm(stream, "ln1")
    read = norm(stream, "ln2") if s.ln in MLP_NORM else stream
    if s.ln.endswith("mlp-inpnorm"):
        read = stream / np.sqrt((stream * stream).sum(-1, keepdims=True))
    hidden = linear(read, p["W_in"], p.get("b_in"))
    written = linear(ACTIVATIONS[s.activation](hidden), p["W_out"], p.get("b_out"))
    if s.ln == "peri":
        written = norm(written, "ln2_out")
    stream = stream + written
    return norm(stream, "ln2") if s.ln == "post" else stream


def attention(q, k, v, n_heads, causal):
    """softmax(q kᵀ / sqrt(head size)) v for each head, heads side by side (Vaswani et al. 2017, section 3.2)."""
    size = q.shape[-1] // n_heads
    mixed = []
    for h in range(n_heads):
        own = slice(h * size, (h + 1) * size)
        scores = q[..., own] @ np.swapaxes(k[..., own], -1, -2) / math.sqrt(size)
        seen = np.tril(np.ones(scores.shape[-2:])) if causal else np.ones(scores.shape[-2:])
        weights = seen * np.exp(
            scores - np.where(seen, scores.real, -np.inf).max(-1, keepdims=True)
        )
        mixed.append(weights / weights.sum(-1, keepdims=True) @ v[..., own])
    return np.concatenate(mixed, -1)


def normalise(x, params, name, kind, eps):
    """LayerNorm (Ba et al. 2016), or RMSNorm (Zhang & Sennrich 2019)."""
    if kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * spread(params[f"{name}.w"], 2)
    return x + spread(params[f"{name}.b"], 2) if kind == "layer" else x


def sinusoids(n_positions, d_model):
    """Vaswani et al. 2017, section 3.5."""
    out = np.zeros((n_positions, d_model))
    for position in range(n_positions):
        for i in range(d_model):
            angle = position / 10000 ** (2 * (i // 2) / d_model)
            out[position, i] = math.cos(angle) if i % 2 else math.sin(angle)
    return out


def mlp(params, s, table, tokens_NT):
    """Concatenated embeddings through hidden layers (source 002)."""
    vectors = params["W_E"][..., tokens_NT, :]
    x = vectors.reshape(*vectors.shape[:-2], -1)[..., None, :]
    for i in range(len(s.hidden)):
        x = ACTIVATIONS[s.activation](linear(x, params[f"W_{i}"], params.get(f"b_{i}")))
    return linear(x, params["W_U"], params.get("b_U"))


def quadratic(params, s, table, tokens_NT):
    """Gromov 2023, equation 1: one-hot operands, squares, no biases."""
    varying = [t for t in range(tokens_NT.shape[1]) if len(set(table.tokens_NT[:, t])) > 1]
    one_hot = [
        tokens_NT[:, t, None] == np.array(sorted(set(table.tokens_NT[:, t]))) for t in varying
    ]
    x = np.concatenate(one_hot, 1).astype(float)[:, None]
    hidden = (linear(x, params["W_in"], None) / math.sqrt(x.shape[-1])) ** 2
    return linear(hidden, params["W_U"], None) / s.d_mlp


def perceptron(params, s, sample, inputs_ND):
    """Hidden layers on numbers; of two classes one output f, as logits -f/2 and f/2 (Merrill et al. 2023)."""
    x = inputs_ND.astype(float)[:, None]
    for i in range(len(s.hidden)):
        x = ACTIVATIONS[s.activation](linear(x, params[f"W_{i}"], params.get(f"b_{i}")))
    out = linear(x, params["W_U"], params.get("b_U"))
    binary = sample.n_classes == 2 and sample.answers == "classes"
    return np.concatenate([-out / 2, out / 2], -1) if binary else out


def bottleneck(params, s, sample, inputs_ND):
    """output(W^T hidden(W x) + b) (Elhage et al. 2022); W here is the transpose of the one there."""
    hidden = linear(inputs_ND.astype(float)[:, None], params["W_E"], None)
    hidden = relu(hidden) if s.activation == "relu" else hidden
    back = np.swapaxes(params["W_E"], -1, -2) if s.tied else params["W_U"]
    return OUTPUTS[s.output](linear(hidden, back, params.get("b_U")))


def linear(x, W, b):
    """x W + b over ... N T D, as one product of all rows."""
    rows = x.reshape(*x.shape[:-3], -1, x.shape[-1]) @ W
    out = rows.reshape(*rows.shape[:-2], *x.shape[-3:-1], rows.shape[-1])
    return out if b is None else out + spread(b, 2)


def spread(w, n):
    """n axes in front of a tensor's own last axes: of a vector 2 (N, T), of positions T D 1 (N)."""
    return np.expand_dims(w, tuple(range(w.ndim - (3 - n), w.ndim - (3 - n) + n)))


def relu(x):
    return np.where(x.real > 0, x, 0)


def gelu(x):
    """Hendrycks & Gimpel 2016, the exact form."""
    return x * (1 + erf(x / math.sqrt(2))) / 2


ACTIVATIONS = {"relu": relu, "gelu": gelu}
OUTPUTS = {"relu": relu, "absolute": lambda x: np.where(x.real > 0, x, -x), "linear": lambda x: x}
MODELS = {
    "transformer": transformer,
    "mlp": mlp,
    "quadratic": quadratic,
    "perceptron": perceptron,
    "bottleneck": bottleneck,
}


# Losses ---------------------------------------------------------------------------------------------------------------


def cross_entropy(logits, labels):
    """−log softmax at the label, over the last axis."""
    top = logits.real.max(-1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
    return total - at_label(logits, labels)


def mse(logits, labels):
    """Mean over classes of the squared distance to the one-hot label."""
    return ((logits - np.eye(logits.shape[-1])[labels]) ** 2).mean(-1)


def hinge(logits, labels):
    """max(0, 1 + largest other logit − label logit) (Crammer & Singer 2001)."""
    others = np.where(np.eye(logits.shape[-1])[labels], -np.inf, logits.real)
    largest = np.take_along_axis(logits, others.argmax(-1)[..., None], -1)[..., 0]
    margin = 1 + largest - at_label(logits, labels)
    return np.where(margin.real > 0, margin, 0)


def squared_error(outputs, targets, importance):
    """Sum over features of importance times squared difference (Elhage et al. 2022)."""
    total = 0
    for i, factor in enumerate(importance):
        total = total + factor * (outputs[..., i] - targets[..., i]) ** 2
    return total


def at_label(logits, labels):
    return (logits * np.eye(logits.shape[-1])[labels]).sum(-1)


LOSSES = {
    "cross_entropy": cross_entropy,
    "cross_entropy_float32": cross_entropy,
    "mse": mse,
    "hinge": hinge,
}


def mean_loss(params, settings, table, rows, labels_NA, loss="cross_entropy"):
    """Mean over the table's rows `rows` and all answers; labels_NA are those of the whole table."""
    out = logits(params, settings, table, table.tokens_NT[rows]) * settings.readout_scale
    return LOSSES[loss](out, labels_NA[rows]).mean((-1, -2))


def gradient(f, params):
    """The gradient of f(params), a loss that passes leading axes and complex numbers through."""
    return {name: partial_gradient(f, params, name) for name in params}


def partial_gradient(f, params, name):
    """Of one tensor: a complex step in each of its entries, all at once."""
    w = params[name]
    steps = np.eye(w.size).reshape(w.size, *w.shape) * (1j * STEP)
    stepped = f({**params, name: w + steps})
    return np.broadcast_to(stepped.imag / STEP, w.size).reshape(w.shape)


# Optimisers -----------------------------------------------------------------------------------------------------------


def learning_rate(s, step):
    """Of update number `step`, from 0: linear warm-up, then constant or half a cosine to 0 at the horizon."""
    factor = 1.0
    if s.warmup > 0:
        factor = min((step if s.warmup_start == "zero" else step + 1) / s.warmup, 1.0)
    if s.schedule == "cosine" and step > s.warmup:
        share = min((step - s.warmup) / (s.horizon - s.warmup), 1.0)
        factor *= (1 + math.cos(math.pi * share)) / 2
    return s.learning_rate * factor


def start(params):
    """Zero moments (Adam's two; SGD's velocity is the first), no update done."""
    zeros = {name: np.zeros_like(w) for name, w in params.items()}
    return {"m": zeros, "v": zeros, "t": 0}


def decays(s, w):
    """Whether the tensor decays."""
    return s.decays == "all" or w.ndim >= 2


def adam_moments(s, grads, state):
    """Kingma & Ba 2015, algorithm 1: new state, and the direction m̂ / (sqrt(v̂) + eps)."""
    t = state["t"] + 1
    m = {n: s.beta1 * state["m"][n] + (1 - s.beta1) * g for n, g in grads.items()}
    v = {n: s.beta2 * state["v"][n] + (1 - s.beta2) * g**2 for n, g in grads.items()}
    direction = {
        n: m[n] / (1 - s.beta1**t) / (np.sqrt(v[n] / (1 - s.beta2**t)) + s.eps) for n in grads
    }
    return {"m": m, "v": v, "t": t}, direction


def adamw(s, grads, state, params):
    """Loshchilov & Hutter 2019, algorithm 2, with the decay multiplied by the learning rate."""
    lr = learning_rate(s, state["t"])
    state, direction = adam_moments(s, grads, state)
    decay = {n: s.weight_decay if decays(s, w) else 0.0 for n, w in params.items()}
    return {n: w - lr * direction[n] - lr * decay[n] * w for n, w in params.items()}, state


def adam(s, grads, state, params):
    """Adam on the gradient of loss + l2/2 · |w|²."""
    lr = learning_rate(s, state["t"])
    state, direction = adam_moments(s, with_l2(s, grads, params), state)
    return {n: w - lr * direction[n] for n, w in params.items()}, state


def sgd(s, grads, state, params):
    """Heavy ball: v ← momentum v + g, w ← w − lr v."""
    lr, grads = learning_rate(s, state["t"]), with_l2(s, grads, params)
    velocity = {n: s.momentum * state["m"][n] + g for n, g in grads.items()}
    moved = {n: w - lr * velocity[n] for n, w in params.items()}
    return moved, {"m": velocity, "v": state["v"], "t": state["t"] + 1}


def rmsprop(s, grads, state, params):
    """v <- beta2 v + (1 - beta2) g², w <- w - lr g / (sqrt(v) + eps)."""
    lr, grads = learning_rate(s, state["t"]), with_l2(s, grads, params)
    v = {n: s.beta2 * state["v"][n] + (1 - s.beta2) * g**2 for n, g in grads.items()}
    moved = {n: w - lr * grads[n] / (np.sqrt(v[n]) + s.eps) for n, w in params.items()}
    return moved, {"m": state["m"], "v": v, "t": state["t"] + 1}


def adagrad(s, grads, state, params):
    """v <- v + g², w <- w - lr g / sqrt(v + eps)."""
    lr, grads = learning_rate(s, state["t"]), with_l2(s, grads, params)
    v = {n: state["v"][n] + g**2 for n, g in grads.items()}
    moved = {n: w - lr * grads[n] / np.sqrt(v[n] + s.eps) for n, w in params.items()}
    return moved, {"m": state["m"], "v": v, "t": state["t"] + 1}


def with_l2(s, grads, params):
    return {n: g + s.l2 * params[n] if decays(s, params[n]) else g for n, g in grads.items()}


OPTIMIZERS = {"adamw": adamw, "adam": adam, "sgd": sgd, "rmsprop": rmsprop, "adagrad": adagrad}
