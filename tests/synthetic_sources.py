"""Made-up results of every experiment of all sources, measurements included: all that tables and pictures read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grokjax.results.measured_store import Variable, write_measured
from tests.synthetic import PROBES, Point, Row, grid, run_id, run_values, write_results

STEPS = np.arange(0, 6001, 100)
SEEDS = range(6)
EXTRA = {
    "output_frobenius": 20.0,
    "output_spectral": 12.0,
    "training_loss_max": 1.0,
    "sparsity": 0.2,
    "active_weights": 70_000.0,
    "sparsity_structural": 0.1,
    "dead_share": 0.8,
    "relative_speed": 1e-3,
    "relative_speed/W_E": 1e-3,
    "relative_speed/W_0": 2e-3,
    "relative_speed/W_U": 3e-3,
    "param_norm": 40.0,
    "update_norm": 0.1,
    "fourier_concentration": 1.0,
    "fourier_top_share": 0.7,
    "train_effective_rank": 30.0,
    "val_effective_rank": 31.0,
    "train_rank": 120.0,
    "val_rank": 121.0,
    "train_stable_rank_unsquared": 2.0,
    "attention_entropy": 0.8,
    "sr_train": 3.0,
    "sr_train_as_published": 4.0,
    "feature_change": 0.01,
    "n_key_frequencies": 5.0,
    "restricted_loss": 0.1,
    "excluded_loss": 2.0,
    "gini_embedding": 0.6,
    "gini_neuron_logits": 0.7,
    "trigonometric_fit": 0.9,
    "weight_squares": 900.0,
    **{f"weight_squares/{name}": 100.0 for name in ("W_E", "W_U")},
    **{f"weight_squares/blocks.0.W_{name}": 100.0 for name in ("Q", "V", "in")},
    **{f"val_loss/digit_{i}": 0.5 for i in range(6)},
    "val_loss/copy_1": 4.0,
    "val_loss/copy_2": 1.0,
    "val_loss/copy_3": 0.5,
    "param_norm/W_E": 2.2,
    "param_norm/b_U": 0.5,
    "features_kept": 5.0,
    "feature_dimension_max": 0.3,
    "row_dimension_max": 0.2,
    "feature_share": 0.9,
    "row_share": 0.8,
    "dictionary_share": 0.7,
    "leverage_max": 0.9,
    "leverage_min": 0.1,
    "val_loss_per_active": 0.1,
    "val_unexplained": 0.4,
}
POWER = (
    "x+y",
    "x-y",
    "x*y",
    "x/y",
    "x/y if y odd else x-y",
    "x^2+y^2",
    "x^2+xy+y^2",
    "x^2+xy+y^2+x",
    "x^3+xy",
    "x^3+xy^2+y",
)
Axes = dict[str, Sequence[Any]]
ARMS = [("False", 2.0), ("True", 1.5), ("True", 2.0), ("True", 4.0)]
"""Stores keep true and false as words."""
ALPHAS = (0.5, 0.75, 1.0, 1.25, 1.5)
EXPERIMENTS: dict[str, Axes] = {
    "s001_train_fraction": {"split.train_fraction": [0.95, 0.6, 0.5, 0.4, 0.3, 0.2]},
    "s001_weight_decay": {"optimizer.weight_decay": [0.0, 0.3, 1.0, 3.0]},
    "s001_addition_stream": {"optimizer.learning_rate": [1e-4, 1e-3]},
    "s001_addition_wide": {},
    "s001_addition_sample": {"optimizer.learning_rate": [1e-4, 1e-3]},
    "s001_repetition_stream": {"model.n_layers": [1, 2, 3]},
    "s001_in_context": {"model.n_layers": [1, 2, 3]},
    "s001_repetition_doubled": {},
    "s001_repetition_decay": {"optimizer.weight_decay": [0.3, 0.5, 1.0]},
    "s001_repetition_sample": {},
    "s001_repetition_sample_decay": {"optimizer.weight_decay": [0.3, 0.5]},
    "s001_skip_trigram": {
        "task.n_train, train.batch_size": [("stream", "256"), *((str(n), "full") for n in (100, 200, 500, 1000))]
    },
    "s000_rot13": {},
    "s000_rot13_strings": {},
    "s000_weight_decay": {"optimizer.weight_decay": [0.0, 0.1, 0.3, 1.0, 3.0, 10.0]},
    "s000_vocabulary_size": {"task.n": [13, 26, 41, 61, 97]},
    "s000_layers": {"model.n_layers": [1, 2, 3], "split.train_fraction": [0.4, 0.5, 0.6, 0.7, 0.8]},
    "s000_slingshots": {"model.n_layers": [1, 2, 3]},
    "s000_slingshots_exact": {"model.n_layers": [1, 2, 3]},
    "s000_data": {"split.train_fraction": [0.2, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8]},
    "s001_power_operations": {"task.operation": [*POWER], "split.train_fraction": [0.3, 0.65]},
    "s001_power_s5": {"task.operation": ["xy", "xyx^-1", "xyx"], "split.train_fraction": [0.3, 0.65, 0.8]},
    "s001_power_s4": {"task.operation": ["xy", "xyx^-1", "xyx"], "split.train_fraction": [0.3, 0.8]},
    "s001_power_division": {"optimizer.weight_decay": [0.0, 1.0]},
    "s001_power_optimizers": {
        "optimizer.weight_decay, optimizer.decay_form, optimizer.noise": [
            (0.0, "to_zero", "none"),
            (1.0, "to_zero", "none"),
            (1.0, "to_initial", "none"),
            (1.0, "jiggle", "none"),
            (0.0, "to_zero", "update"),
            (0.0, "to_zero", "weights"),
        ],
        "split.train_fraction": [0.3, 0.5],
    },
    "s001_power_dropout": {"split.train_fraction": [0.3, 0.5]},
    "s001_power_rates": {"optimizer.learning_rate": [3e-4, 3e-3], "split.train_fraction": [0.3, 0.5]},
    "s001_power_full_batch": {"split.train_fraction": [0.3, 0.5]},
    "s001_power_outliers": {"split.label_noise": [0.0, 0.001389, 0.01389, 0.1389, 0.2778, 0.4167]},
    "s001_power_addition": {},
    "s001_table": {},
    "s002_random_split": {},
    "s002_label_split": {},
    "s002_weight_decay": {"optimizer.weight_decay": [0.0, 0.01, 0.1, 1.0]},
    "s002_scale_output": {"intervention.armed, intervention.factor": ARMS},
    "s002_slingshots": {
        "optimizer.eps": [1e-8, 1e-5],
        "train.loss": ["cross_entropy_float32", "cross_entropy"],
    },
    "s002_slingshots_decay": {"optimizer.weight_decay": [0.0, 0.1, 0.4, 1.0]},
    "s002_slingshots_optimizers": {"optimizer.kind": ["rmsprop", "sgd", "adagrad"]},
    "s002_sparse_parity": {},
    "s003_bottleneck": {"task.n_train": [3, 5, 30, 500, 2000]},
    "s003_absolute": {"task.n_train": [3, 30, 500]},
    "s003_sparsity": {"task.sparsity": [0.97, 0.99, 0.997], "task.n_train": [100, 600, 2400]},
    "s003_decay": {"optimizer.weight_decay": [0.01, 0.1, 1.0], "task.n_train": [5, 150, 1000]},
    "s003_updates": {"task.n_train": [30, 200, 1000]},
    "s003_width": {"model.n_hidden": [1, 2, 3, 5, 10], "task.n_train": [5, 50, 500]},
    "s003_mlp_block": {"task.n_train": [10, 100, 3000]},
    "s003_final_layer": {"task.n_train": [1, 10, 3000]},
    "s003_dictionary": {"task.n_train": [3, 5, 8, 10, 15, 30, 100]},
    "s003_limits": {"task.sparsity": [0.0, 0.5, 0.9, 0.97, 0.99], "model.n_hidden": [5, 10, 20, 40]},
    "s003_limits_features": {"task.n_features": [20, 50, 100, 200]},
    "s003_limits_importance": {"task.importance": [1.0, 0.98, 0.95, 0.9]},
    "s003_absolute_task": {"task.sparsity": [0.0, 0.9, 0.99]},
    "s003_digits": {"task.n_train": [100, 300, 1000, 1300]},
    "s004_layernorm": {"model.ln": ["mlp-pre", "none", "pre", "attn-pre"]},
    "s004_attention_paths": {"model.ln": ["attn-pre-qk", "attn-pre-v", "pre-v"]},
    "s004_readout_scale": {"model.readout_scale": ALPHAS},
    "s004_readout_scale_lr": {
        "model.readout_scale, optimizer.learning_rate": [(a, 1e-3 / a**2) for a in ALPHAS]
    },
    "s004_eps0": {"optimizer.eps": [0.0, 1e-30, 1e-18, 1e-8], "model.readout_scale": [0.5, 1.0]},
    "s004_subtract_initial": {"model.readout_scale": [0.5, 1.0, 1.5]},
    "s004_learning_rate": {
        "optimizer.learning_rate, optimizer.weight_decay": [(x, 1e-3 / x) for x in (1e-3, 3e-3, 5e-3, 1e-2)]
    },
    "s004_weight_decay": {"optimizer.weight_decay": [0.1, 0.2, 0.5, 0.75, 1.0, 1.5]},
    "s004_rmsnorm": {"model.ln": ["mlp-pre", "pre", "attn-pre"]},
    "s004_depth": {"model.ln": ["mlp-pre", "none", "pre", "attn-pre"]},
}  # fmt: skip
PER_EPOCH = {"s002_random_split": 15, "s002_label_split": 15, "s002_weight_decay": 15,
             "s002_scale_output": 15, "s002_sparse_parity": 32}  # fmt: skip
MEASURED: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "s002_random_split": {
        "pruning": {"train_accuracy": ("threshold",), "val_accuracy": ("threshold",), "share_pruned": ("threshold",)},
        "pca": {"embedding": ("token", "component"), "embedding_share": ("component",),
                "logits": ("x", "component"), "logits_share": ("component",)},
        "embedding_fourier": {"energy_share": ("frequency",)},
    },
    "s002_sparse_parity": {
        "effective_sparsity": {"neurons_same_accuracy": ()},
        "subnetworks": {"norm": ("part",)},
    },
    "s001_power_s5": {
        "cosets": dict.fromkeys(("purity", "chance_purity", "silhouette", "chance_silhouette", "left"), ())
        | {"coset": ("element",)},
        "tsne": {"points": ("element", "component")},
        "subgroups": dict.fromkeys(("share", "chance", "chance_largest", "order"), ("subgroup",)),
        "sharpness": dict.fromkeys(("sharpness", "val_accuracy"), ()),
    },
    "s001_power_s4": {"sharpness": dict.fromkeys(("sharpness", "val_accuracy"), ())},
    "s001_power_operations": {"sharpness": dict.fromkeys(("sharpness", "val_accuracy"), ())},
    **{name: {"geometry": {
        **dict.fromkeys(("row_dimension", "leverage", "right", "loss"), ("row",)),
        "hidden": ("row", "hidden_dimension"), "feature": ("output", "hidden_dimension"),
        "feature_dimension": ("output",), "row_gap": (), "feature_gap": (), "inputs": ("row", "input"),
    }} for name in ("s003_bottleneck", "s003_dictionary", "s003_digits")},
    "s001_power_addition": {"circles": {"share": ("frequency",), "points": ("element", "component")}},
    "s001_table": {"predictions": dict.fromkeys(("answer", "probability", "x", "y", "known"), ("row",))},
    "s004_layernorm": {"spectrum": {"eigenvalue": ("rows", "rank")}},
    "s004_readout_scale": {"ntk": {"distance": ()}},
    "s004_readout_scale_lr": {"ntk": {"distance": ()}},
    "s004_eps0": {"ntk": {"distance": ()}},
}  # fmt: skip
MEASURED["s002_label_split"] = {
    kind: MEASURED["s002_random_split"][kind] for kind in ("pca", "embedding_fourier")
}
LABELS: dict[str, Sequence[Any]] = {
    "threshold": [1e-4, 1e-3, 0.01, 0.1, 1.0],
    "token": range(99),
    "component": [0, 1],
    "x": range(97),
    "frequency": range(1, 49),
    "part": ["generalising", "complement", "control"],
    "rows": ["train", "val"],
    "rank": range(16),
    "element": range(97),
    "subgroup": ["24: (3,4) (1,2,3)", "10: (1,2)(3,4) (0,1)(2,3)"],
    "row": range(25),
    "hidden_dimension": range(2),
    "output": range(12),
    "input": range(64),
}


def make_row(point: Point, name: str) -> Row:
    """Seeds and configurations differ; every third configuration does not arrive."""
    settings = [v for k, v in point.items() if k != "seed"]
    place = sum(map(len, map(str, settings))) % 7
    time = np.inf if place == 5 else (1000 + 400 * place) * (1 + 0.1 * point["seed"])
    own = run_values(STEPS, 300.0, time)
    wave = 1 + 0.3 * np.sin(STEPS / 700 + point["seed"])
    extra = np.stack([size * wave for size in EXTRA.values()], 1)
    for at in (2000, 4000):  # a spike of the loss, after the norm has grown
        own[at == STEPS, 0], own[at == STEPS, 1] = 2.0, 0.9
    value = np.concatenate([own, extra], 1).astype(np.float32)
    return Row(point, value, "finished", {"steps_per_epoch": PER_EPOCH.get(name, 1)})


def write_everything(root: Path, only: Sequence[str] = (), status: str | None = None) -> Path:
    """All experiments (or some) with six seeds, and their measurements."""
    for name in only or EXPERIMENTS:
        axes = EXPERIMENTS[name]
        whole = {**axes, "seed": SEEDS}

        def make(point: Point, name: str = name) -> Row:
            made = make_row(point, name)
            return made if status is None else dataclasses.replace(made, status=status)

        write_results(root / name, whole, make, int(STEPS[-1]), (*PROBES, *EXTRA))
        points = grid(whole)
        for kind, variables in MEASURED.get(name, {}).items():
            write_kind(root / name, kind, variables, points)
    return root


def write_kind(
    path: Path, kind: str, variables: dict[str, tuple[str, ...]], points: list[Point]
) -> None:
    """Random positive numbers at three sets of weights for each run."""
    random = np.random.default_rng(0)
    outer = (len(points), 3)
    found = {
        name: Variable(("run", "snapshot", *dims),
                       random.lognormal(size=(*outer, *(len(LABELS[d]) for d in dims))) / 4)
        for name, dims in variables.items()
    }  # fmt: skip
    used = {d for dims in variables.values() for d in dims}
    coordinates = {d: Variable((d,), list(LABELS[d])) for d in sorted(used)}
    own = {name: [p[name] for p in points] for name in points[0]}
    runs = {"id": [run_id(p) for p in points], **own}
    coordinates |= {name: Variable(("run",), values) for name, values in runs.items()}
    coordinates["step"] = Variable(("run", "snapshot"), np.tile([0.0, 3000, 6000], (outer[0], 1)))
    coordinates["snapshot"] = Variable(("snapshot",), np.arange(3))
    attributes = {"kind": kind, "settings": "{}", "meaning": "made up"}
    write_measured(
        path / "groups" / "p59l1" / "measured" / f"{kind}.safetensors",
        found,
        coordinates,
        attributes,
    )
