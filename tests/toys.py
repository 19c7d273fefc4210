"""Every configuration of the project at the size of a toy: same kinds, axes and probes, a second of training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from grokjax.experiment.axes import expand_axes
from grokjax.experiment.axis_names import split_names
from grokjax.experiment.loading import load_with_places, parse_yaml
from grokjax.experiment.places import Places
from tests.harness import ROOT

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
ONE_OF_EACH = {
    "transformer": "quickstart",
    "mlp": "source_002/random_split",
    "perceptron": "source_002/sparse_parity",
    "intervention": "source_002/scale_output",
    "stream": "source_001/addition_stream",
    "bottleneck": "source_003/bottleneck",
}
"""A configuration of each kind: models, batches full and small, a Sample, a stream, vectors, an intervention."""

EVERY = 2
"""Steps between two evaluations; epochs, where a configuration counts in epochs."""

_SIZES: dict[str, dict[str, Any]] = {
    "modular": {"p": 11},
    "characters": {"n": 11},
    "permutation": {"group": "A5"},
    "rot13_strings": {"letters": 3, "n_train": 20, "n_test": 20},
    "sparse_parity": {"n_bits": 10, "n_train": 64, "n_test": 16},
    "addition": {"digits": 2, "n_test": 20},
    "repeated_subsequence": {"symbols": 5, "interval": 4, "subsequence": 3, "n_test": 20},
    "skip_trigram": {"n_tokens": 6, "n_test": 20},
    "sparse_features": {"n_features": 12, "n_test": 20, "sparsity": 0.5},
    "clusters": {"n_inputs": 6, "n_classes": 4, "n_clusters": 8, "n_test": 20},
    "digits": {"n_train": 20},
    "transformer": {"d_model": 8, "n_heads": 2, "d_mlp": 16},
    "mlp": {"d_model": 8, "hidden": [16]},
    "perceptron": {"hidden": [16]},
    "bottleneck": {"n_hidden": 2},
    "by_answer": {"validation_below": 2},
}
_OF_AXES: dict[str, list[Any]] = {"task.p": [5, 7], "task.n": [5, 7]}


def toy(config: Path, points: int, seeds: int = 1, evaluations: int = 2) -> list[str]:
    """Overrides: `points` values of each axis, `seeds` seeds, a budget of so many evaluations behind step 0."""
    written = parse_yaml(config.read_text())
    words = [
        f"{section}.{name}={value}"
        for section in ("task", "model", "split")
        for name, value in _SIZES.get(written[section]["kind"], {}).items()
        if f"{section}.{name}" not in written["axes"]
        and written[section].get(name, 1) not in (None, [])
    ]
    batches = isinstance(written["train"].get("batch_size"), int)
    # Batches of a table: an evaluation is at the end of an epoch, and how long that is depends on the split.
    epochs = isinstance(written["train"]["steps"], dict) or (
        batches and written["split"]["kind"] == "random"
    )
    duration = "{{epochs: {}}}" if epochs else "{}"
    words += [
        f"train.steps={duration.format(EVERY * evaluations)}",
        f"train.eval_every={duration.format(EVERY)}",
        "train.early=null",
        *(["train.snapshot_every=1"] if "measurements" in written else []),
        *(["train.batch_size=8"] if batches else []),
        *(["intervention.when.step=0"] if "intervention" in written else []),
    ]
    for axis, values in expand_axes(written["axes"], Places("toy")).items():
        kept = _OF_AXES.get(axis, values)[: seeds if axis == "seed" else points]
        words.append(f"axes.{', '.join(split_names(axis))}={_flow(kept)}")
    return [*words, "execution.devices=1", "execution.slots=2"]


def first_values(config: Path) -> list[str]:
    """Overrides: of each axis the first value, all else at its real size."""
    return _of_axes(config, lambda values: values[:1])


def end_values(config: Path) -> list[str]:
    """Overrides: of each axis the first value and the last one, all else at its real size."""
    return _of_axes(config, lambda values: values[:1] + values[1:][-1:])


def _of_axes(config: Path, kept: Callable[[list[Any]], list[Any]]) -> list[str]:
    axes = expand_axes(parse_yaml(config.read_text())["axes"], Places("toy"))
    return [f"axes.{', '.join(split_names(a))}={_flow(kept(values))}" for a, values in axes.items()]


def _flow(values: list[Any]) -> str:
    """Values as YAML on one line."""
    if isinstance(values, list):
        return "[" + ", ".join(_flow(v) for v in values) + "]"
    return str(values).lower() if isinstance(values, bool) else str(values)


def measurements(config: Path) -> list[str]:
    """What `--measure` is told, where the configuration names nothing."""
    experiment, _ = load_with_places(config, [])
    if experiment.measurements:
        return []
    kind = "pruning"
    if experiment.model.kind == "bottleneck":
        kind = "geometry"
    elif experiment.model.kind == "perceptron" and experiment.model.hidden:
        vectors = experiment.task.kind == "sparse_features"
        kind = "geometry" if vectors else "effective_sparsity"
    return [f"measurements=[{{kind: {kind}}}]"]
