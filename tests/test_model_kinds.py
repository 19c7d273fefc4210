"""What a kind of model must have and must keep: checked when it is listed, or when an experiment is read."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from grokjax.experiment import run_checks
from grokjax.experiment.grid import make_runs
from grokjax.experiment.identity import run_id
from grokjax.experiment.loading import load_experiment
from grokjax.measurements import MEASUREMENTS
from grokjax.measurements.saved import OF_WEIGHTS, Measurement
from grokjax.models import MODELS, Model, ModelKind, ModelSettings
from grokjax.models.checks import fault, lacking, not_offered, offering
from grokjax.models.kind import MEANING, OF_MODELS
from grokjax.models.transformer_settings import TransformerSettings
from grokjax.probes import PROBES
from grokjax.probes.view import KEPT, Probe, View
from grokjax.settings import Settings, execution, hyper, leaves, shape
from grokjax.tasks import make_table
from grokjax.tasks.modular import Modular
from tests import test_bad_input
from tests.harness import ROOT, environment

told = test_bad_input.told
TABLE = make_table(Modular(p=5, format="a b", classes="p"))


class Toy(ModelSettings):
    """logits = (W_E[x] * W_E[y]) W."""

    kind: Literal["toy"] = shape("toy")
    width: int = shape(3, ge=1)
    """Width of the embedding."""


class ToyModule(nn.Module):
    """Its embedding and output matrix have the names that are given."""

    s: Toy
    names: tuple[str, str] = ("W_E", "W_U")

    def setup(self) -> None:
        normal, (embed, out) = nn.initializers.normal(0.3), self.names
        self.embed = self.param(embed, normal, (5, self.s.width))
        self.out = self.param(out, normal, (self.s.width, 5))

    def dense(self, tokens_NT: jax.Array, answer_positions: tuple[int, ...]) -> jax.Array:
        return (self.embed[tokens_NT].prod(1) @ self.out)[:, None]


def kind_with(*names: str, **fields: Any) -> ModelKind:
    return ModelKind(Toy, lambda s, table: ToyModule(s, names), **fields)  # type: ignore[arg-type]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch):
    """List a toy kind with these names of matrices; returns what is wrong with it."""

    def listed(*names: str, **fields: Any) -> str | None:
        monkeypatch.setitem(MODELS, "toy", kind_with(*names, **fields))
        wrong = fault(Toy(), TABLE)
        return None if wrong is None else str(wrong)

    return listed


# The output matrix ----------------------------------------------------------------------------------------------------


def test_an_output_matrix_of_another_name_is_refused(toy) -> None:
    assert toy("W_E", "W_U") is None
    assert toy("W_E", "W_out") == (
        "kind: toy has no matrix W_U (its parameters are W_E, W_out); give the matrix that makes the logits this name, "
        "or set ModelKind.tied if it is the embedding W_E"
    )
    assert toy("W_E", "W_out", tied=lambda s: True) is None
    assert toy("embed", "W_out", tied=lambda s: True) == (
        "kind: toy is tied, but has no matrix W_E (its parameters are W_out, embed); give its embedding this name"
    )


def test_the_embedding_is_never_taken_for_the_output_matrix(toy) -> None:
    toy("W_E", "W_out")
    model = Model(Toy(), TABLE)
    params = model.init(jax.random.key(0))
    with pytest.raises(KeyError, match="W_U"):
        model.output_matrix(params)
    with pytest.raises(KeyError, match="W_U"):
        model.scale_output(params, 2.0)


@pytest.mark.parametrize("tied", [False, True])
def test_the_output_matrix_of_a_transformer_follows_its_setting(tied: bool) -> None:
    model = Model(TransformerSettings(tied=tied, d_model=4, n_heads=2, d_mlp=3), TABLE)
    params = model.init(jax.random.key(0))
    expected = params["W_E"][:5] if tied else params["W_U"]
    assert (model.output_matrix(params) == expected).all()
    changed = model.scale_output(params, 2.0)
    assert (model.output_matrix(changed) == 2 * expected).all()
    assert {n for n in params if changed[n] is not params[n]} == {"W_E" if tied else "W_U"}


def test_it_is_refused_before_training_in_one_sentence(told, monkeypatch) -> None:
    renamed = dataclasses.replace(
        MODELS["mlp"], module=lambda s, table: ToyModule(Toy(), ("W_E", "head"))
    )  # type: ignore[arg-type]
    monkeypatch.setitem(MODELS, "mlp", renamed)
    run_checks._fault.cache_clear()
    assert told("model={kind: mlp, d_model: 7}") == (
        "override model={kind: mlp, d_model: 7}: model.kind: mlp has no matrix W_U (its parameters are W_E, head); "
        "give the matrix that makes the logits this name, or set ModelKind.tied if it is the embedding W_E"
    )
    run_checks._fault.cache_clear()


def test_a_tied_model_with_too_many_classes_is_refused_at_its_setting(told) -> None:
    words = ["task={kind: modular, p: 13, format: a b, classes: p+1}", "model.tied=true"]
    assert told(*words) == (
        "override model.tied=true: model.tied: true needs at most as many classes (14) as tokens (13); use false"
    )


def test_the_check_starts_no_device() -> None:
    """Otherwise their number could no longer be set, and a CPU would train on one core only."""
    code = (
        "import jax\n"
        "from grokjax.engine import devices\n"
        "from grokjax.experiment import grid, loading\n"
        "grid.make_runs(loading.load_experiment('configs/quickstart.yaml'))\n"
        "devices.set_up(3)\n"
        "assert len(jax.devices()) == 3, jax.devices()\n"
    )
    env = {**environment(), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# The logits -----------------------------------------------------------------------------------------------------------


def test_logits_for_one_answer_are_refused_where_the_task_has_two(toy) -> None:
    """They would be stretched to both answers without a word."""
    two = make_table(Modular(p=5, format="| a op b = c |"))
    assert toy("W_E", "W_U") is None
    assert len(two.answer_positions) == 2 and two.n_classes == 8
    assert str(fault(Toy(), dataclasses.replace(two, n_classes=5))) == (
        "kind: toy returns logits of the shape (3, 1, 5) for 3 rows, where (3, 2, 5) must be: rows, answers, classes; "
        "this task has 2 answers: use a task with one answer, or another model, or write its dense for all of "
        "answer_positions"
    )


@pytest.mark.parametrize(
    ("lost", "shape_of_three"), [(lambda x: x[:, 0], "(3, 5)"), (lambda x: x[..., :4], "(3, 1, 4)")]
)
def test_logits_of_another_shape_are_refused(monkeypatch, toy, lost, shape_of_three) -> None:
    whole = ToyModule.dense
    monkeypatch.setattr(ToyModule, "dense", lambda self, rows, at: lost(whole(self, rows, at)))
    assert toy("W_E", "W_U") == (
        f"kind: toy returns logits of the shape {shape_of_three} for 3 rows, where (3, 1, 5) must be: "
        "rows, answers, classes; mend its dense"
    )


@pytest.mark.parametrize("name", ["mlp", "quadratic"])
def test_a_model_for_one_answer_is_refused_before_training(told, name: str) -> None:
    words = [f"model={{kind: {name}}}", "task.format='| a op b = c |'"]
    assert told(*words).startswith(
        f"override {words[0]}: model.kind: {name} returns logits of the shape (3, 1, 16) for 3 rows, where (3, 2, 16)"
    )


# Settings and module are enough ---------------------------------------------------------------------------------------


def test_model_settings_bring_both_scales() -> None:
    numbers = {leaf.name: leaf.value for leaf in leaves(Toy()) if leaf.role == "hyper"}
    assert numbers == {"init_scale": 1.0, "readout_scale": 1.0}


@pytest.mark.parametrize("name", ["transformer", "mlp", "quadratic", "perceptron", "bottleneck"])
def test_the_first_kinds_have_both_scales_last(name: str) -> None:
    """In this order they stand in the experiment.yaml of directories that exist. A new kind may have any order."""
    assert list(MODELS[name].settings.model_fields)[-2:] == ["init_scale", "readout_scale"]


class ToyWithScalesLast(Settings):
    """Toy, with its settings in the order of the first kinds."""

    kind: Literal["toy"] = shape("toy")
    width: int = shape(3, ge=1)
    init_scale: float = hyper(1.0, gt=0)
    readout_scale: float = hyper(1.0, gt=0)


def test_the_order_of_settings_is_not_part_of_an_id() -> None:
    """So a kind that extends ModelSettings, whose scales come first, is as good as one that has them last."""
    settings = make_runs(load_experiment(ROOT / "configs" / "quickstart.yaml"))[0].settings
    orders, ids = zip(
        *(
            (tuple(type(m).model_fields), run_id(settings.model_copy(update={"model": m})))
            for m in (Toy(), ToyWithScalesLast())
        ),
        strict=True,
    )
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])
    assert ids[0] == ids[1]


def test_a_kind_without_the_scales_is_refused_when_it_is_listed() -> None:
    class Bare(Settings):
        kind: Literal["bare"] = shape("bare")

    with pytest.raises(
        ValueError, match="Bare has no setting init_scale; let it extend ModelSettings"
    ):
        ModelKind(Bare, lambda s, table: ToyModule(s))


# What it offers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "sentence"),
    [
        ("feature", r"Toy offers 'feature', which is not a known word; use .*\(did you mean 'features'\?\)"),
        ("modular", "Toy offers 'modular', which is not a known word; use attention, "),
        ("features", "Toy offers 'features', but ModelKind.shared is missing, which reads them; give both or neither"),
        ("hidden_layer", "Toy offers 'hidden_layer', but ModelKind.hidden is missing, which names its weights; give"),
    ],
)  # fmt: skip
def test_an_offer_that_is_not_kept_is_refused_when_it_is_listed(
    offered: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        kind_with("W_E", "W_U", offers=lambda s: frozenset({offered}))


def test_an_offer_that_depends_on_a_setting_is_refused_when_the_experiment_is_read(toy) -> None:
    wide = lambda s: frozenset({"features"} if s.width > 3 else set())  # noqa: E731
    assert toy("W_E", "W_U", offers=wide) is None
    assert "offers 'features', but ModelKind.shared is missing" in str(fault(Toy(width=4), TABLE))


@pytest.mark.parametrize(
    ("offered", "fields", "sentence"),
    [
        ("embedding", {}, "offers 'embedding', but has no matrix W_E"),
        ("token_mlp", {}, "offers 'token_mlp', but has no matrix W_E"),
        ("attention", {}, "offers 'attention', but its module has no method patterns(tokens_NT)"),
        ("neurons", {}, "offers 'neurons', but its module has no method neurons(tokens_NT, answer_positions)"),
        ("hidden_layer", {"hidden": lambda s: (None, "W_0", "W_U")}, "offers 'hidden_layer', but has no matrix W_0"),
        ("hidden_layer", {"hidden": lambda s: ("block", "W_U", "W_U")}, "but has no matrix W_U"),
    ],
)  # fmt: skip
def test_an_offer_whose_matrix_has_another_name_is_refused(toy, offered, fields, sentence) -> None:
    assert sentence in toy("embed", "W_U", offers=lambda s: frozenset({offered}), **fields)


@pytest.mark.parametrize("name", MODELS)
def test_the_kinds_keep_what_they_offer(name: str) -> None:
    kind = MODELS[name]
    assert kind.offers(kind.settings()) <= OF_MODELS.keys()
    assert kind.unkept(kind.settings()) is None


def test_a_kind_with_a_required_setting_does_not_break_the_messages_of_others(monkeypatch) -> None:
    class Needy(ModelSettings):
        kind: Literal["needy"] = shape("needy")
        width: int = shape(ge=1)

    kind = ModelKind(
        Needy, lambda s, table: ToyModule(s), offers=lambda s: frozenset({"embedding"})
    )
    before = offering(frozenset({"embedding"}))
    monkeypatch.setitem(MODELS, "needy", kind)
    assert offering(frozenset({"embedding"})) == before and {"transformer", "mlp"} <= {*before}


def test_what_is_not_offered_is_told_with_the_word_for_it(toy) -> None:
    toy("W_E", "W_U")
    assert lacking(frozenset({"embedding"}), Toy(), TABLE) == "embedding"
    assert not_offered("embedding", Toy()) == (
        "a model with an embedding, but kind toy with these settings does not offer 'embedding' (ModelKind.offers)"
    )


# What is required -----------------------------------------------------------------------------------------------------


def test_every_required_word_is_known() -> None:
    for kind in PROBES.values():
        assert kind.settings.requires <= {*MEANING, *KEPT}  # type: ignore[attr-defined]
    for kind in MEASUREMENTS.values():
        assert kind.settings().requires <= {*MEANING, *OF_WEIGHTS}  # type: ignore[attr-defined]


def test_every_kept_word_is_that_of_a_field_of_the_view() -> None:
    fields = {f.name for f in dataclasses.fields(View)}
    told = " ".join(KEPT.values())
    assert {"grads", "updates", "previous", "update_length"} <= fields
    assert all(f"View.{name}" in told for name in ("grads", "updates", "previous", "update_length"))


@pytest.mark.parametrize("base", [Probe, Measurement])
def test_a_misspelt_requirement_is_an_error_when_it_is_imported(base: type[Settings]) -> None:
    sentence = (
        r"Typo requires 'atention', which is not a known word; use .*\(did you mean 'attention'\?\)"
    )
    with pytest.raises(ValueError, match=sentence):

        class Typo(base):  # type: ignore[valid-type,misc]
            kind: Literal["typo"] = execution("typo")
            requires: ClassVar[frozenset[str]] = frozenset({"atention"})


def test_a_probe_cannot_require_what_only_measurements_see() -> None:
    with pytest.raises(ValueError, match="requires 'final', which is not a known word"):

        class Late(Probe):
            kind: Literal["late"] = shape("late")
            threshold: float = hyper(0.0)
            requires: ClassVar[frozenset[str]] = frozenset({"final"})


def test_a_spectrum_of_features_needs_features() -> None:
    assert "features" in MEASUREMENTS["spectrum"].settings.requires  # type: ignore[attr-defined]


def test_the_rank_of_a_spectrum_is_the_width_of_the_features() -> None:
    model = Model(TransformerSettings(tied=True, d_model=4, n_heads=2, d_mlp=3), TABLE)
    kind = MEASUREMENTS["spectrum"]
    assert list(kind.labels(kind.settings(), model)["rank"]) == [0, 1, 2, 3]
    assert jnp.shape(model.init(jax.random.key(0))["W_E"]) == (5, 4)
