"""Every mistake of a user's gets one sentence that names its place, exit code 2, and leaves nothing behind."""

from __future__ import annotations

# ruff: noqa: E501 - a sentence is read as a whole
import json
import os
import platform
from pathlib import Path

import pytest

from grokjax.cli.commands import main
from grokjax.driver import session
from grokjax.engine import devices
from grokjax.experiment.loading import load_with_places
from grokjax.models import MODELS
from grokjax.probes import PROBES
from grokjax.results.directory import write_experiment
from grokjax.tasks import TASKS
from grokjax.tasks.modular import OPERATIONS
from tests.harness import put_experiment
from tests.words import one_of

YAML = """\
name: q
task: {kind: modular, operation: x+y, p: 13}
split:
  kind: random
  train_fraction: 0.5
model:
  kind: transformer
  d_model: 16
  n_heads: 2
  d_mlp: 32
optimizer: {kind: adamw, learning_rate: 1e-3, weight_decay: 1.0}
train:
  steps: 400
  eval_every: 50
axes:
  seed: [0, 1]
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command on x.yaml; returns what it says after a mistake."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        session, "train_group", lambda *_: pytest.fail("trained in spite of a mistake")
    )

    def run(*words: str, text: str = YAML, config: str = "x.yaml") -> str:
        Path("x.yaml").write_text(text)
        before = files()
        assert main([config, *words]) == 2
        assert files() == before, "something was written"
        out, error = capsys.readouterr()
        assert out == "" and error.endswith("\n") and "Traceback" not in error
        return error.removesuffix("\n")

    return run


def files() -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in Path().rglob("*")}


# -- one setting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        # unknown settings, with the closest one
        ("  d_model", "  d_modle", "x.yaml:8: model.d_modle: unknown setting (did you mean 'd_model'?)"),
        ("optimizer:", "optimiser:", "x.yaml:11: optimiser: unknown setting (did you mean 'optimizer'?)"),
        ("name: q", "name: q\ntrain_fraction: 1", "x.yaml:2: train_fraction: unknown setting (did you mean 'split.train_fraction'?)"),
        ("name: q", "name: q\nzzz: 1", "x.yaml:2: zzz: unknown setting; --help lists all settings"),
        ("steps: 400", "steps: {epoch: 3}", "x.yaml:13: train.steps.epoch: unknown setting (did you mean 'epochs'?)"),
        ("kind: transformer\n  d_model: 16\n  n_heads: 2\n", "kind: mlp\n  bias: true\n", "x.yaml:9: model.d_mlp: kind mlp does not have this setting, only kind transformer or quadratic; remove it or change the kind"),
        ("axes:", "probes:\n- kind: norms\n  evry: 2\naxes:", "x.yaml:17: probes.0.evry: unknown setting (did you mean 'every'?)"),
        ("eval_every: 50", "eval_every: 50\n  batch_size: {max: 3, shre: 1}", "x.yaml:15: train.batch_size.shre: unknown setting (did you mean 'share'?)"),
        # wrong types
        ("p: 13", "p: 13.5", "x.yaml:2: task.p: needs a whole number, got 13.5"),
        ("p: 13", "p: true", "x.yaml:2: task.p: needs a whole number, got true"),
        ("p: 13", "p: null", "x.yaml:2: task.p: needs a whole number, got null"),
        ("1e-3", "'1e-3'", "x.yaml:11: optimizer.learning_rate: needs a number, got '1e-3', which is text; write it without quotes"),
        ("1e-3", "fast", "x.yaml:11: optimizer.learning_rate: needs a number, got 'fast'"),
        ("1e-3", "true", "x.yaml:11: optimizer.learning_rate: needs a number, got true"),
        ("1e-3", ".nan", "x.yaml:11: optimizer.learning_rate: must be finite, got .nan"),
        ("d_mlp: 32", "causal: 1", "x.yaml:10: model.causal: needs true or false, got 1"),
        ("steps: 400", "steps: all", "x.yaml:13: train.steps: needs a whole number or {epochs: n}, got 'all'"),
        ("steps: 400", "steps: 400.0", "x.yaml:13: train.steps: needs a whole number or {epochs: n}, got 400.0"),
        ("eval_every: 50", "batch_size: half", "x.yaml:14: train.batch_size: needs full, a whole number or {max: 512, share: 0.5}, got 'half'"),
        ("eval_every: 50", "loss: cros_entropy", "x.yaml:14: train.loss: needs cross_entropy, cross_entropy_float32, mse, hinge or squared_error, got 'cros_entropy' (did you mean 'cross_entropy'?)"),
        ("eval_every: 50", "stop: 0.9", "x.yaml:14: train.stop: needs {val_accuracy: n, hold: 1, then: 0}, got 0.9"),
        ("name: q", "name: a/b", "x.yaml:1: name: may contain letters, digits, '.', '_' and '-' and must begin with a letter or digit, got 'a/b'"),
        ("name: q", "name: q\nprobes: norms", "x.yaml:2: probes: needs a list, got 'norms'"),
        ("name: q", "name: q\nprobes: [norms]", f"x.yaml:2: probes.0: needs a mapping whose kind is {one_of(PROBES)}, got 'norms'"),
        # out of range
        ("p: 13", "p: 1", "x.yaml:2: task.p: must be at least 2, got 1"),
        ("p: 13", "p: 5000", "x.yaml:2: task.p: must be at most 4096, got 5000"),
        ("0.5", "1.0", "x.yaml:5: split.train_fraction: must be below 1, got 1.0"),
        ("weight_decay: 1.0", "weight_decay: -1", "x.yaml:11: optimizer.weight_decay: must be at least 0, got -1"),
        ("steps: 400", "steps: 0", "x.yaml:13: train.steps: must be at least 1, got 0"),
        ("steps: 400", "steps: {epochs: 0}", "x.yaml:13: train.steps.epochs: must be at least 1, got 0"),
        ("name: q", "name: q\ninit_seed: 2147483648", "x.yaml:2: init_seed: must be below 2147483648, got 2147483648"),
        # missing, unknown kinds
        (", weight_decay: 1.0", "", "x.yaml:11: optimizer.weight_decay: is missing and has no default; give it a value"),
        ("  steps: 400\n", "", "x.yaml:12: train.steps: is missing and has no default; give it a value"),
        ("task: {kind: modular, operation: x+y, p: 13}\n", "", f"x.yaml: task: is missing and has no default; give it a mapping whose kind is {one_of(TASKS)}"),
        ("  kind: transformer\n", "", f"x.yaml:6: model.kind: is missing; use {one_of(MODELS)}"),
        ("kind: transformer", "kind: transfomer", f"x.yaml:7: model.kind: unknown kind 'transfomer'; use {one_of(MODELS)} (did you mean 'transformer'?)"),
        # several settings together
        ("n_heads: 2", "n_heads: 3", "x.yaml:9: model.n_heads: 3 does not divide d_model = 16; use 2, or set d_head"),
        ("operation: x+y, p: 13", "operation: x/y, p: 15", "x.yaml:2: task.p: 15 is not prime, but x/y needs a modular inverse; use 13 or 17"),
        ("p: 13", "p: 13, table_seed: 3", "x.yaml:2: task.table_seed: 3 has no effect on x+y, only on the operation random; use 0"),
        ("0.5", "0.005", "x.yaml:5: split.train_fraction: 0.005 leaves no row of 169 to train; at least 1 row must train and at least 1 must validate"),
        ("0.5", "0.995\n  rounding: ceil", "x.yaml:5: split.train_fraction: 0.995 leaves no row of 169 to validate; at least 1 row must train and at least 1 must validate"),
        ("steps: 400", "steps: 410", "x.yaml:13: train.steps: 410 is not an evaluation step (train.eval_every is 50), and the last step must be one; use 400 or 450"),
        ("steps: 400", "steps: 30", "x.yaml:13: train.steps: 30 is not an evaluation step (train.eval_every is 50), and the last step must be one; use 50"),
        ("steps: 400\n  eval_every: 50", "steps: 40\n  eval_every: 10\n  early: {until: 200, every: 25}", "x.yaml:13: train.steps: 40 is not an evaluation step (up to step 200 train.early.every is 25), and the last step must be one; use 25 or 50, or train.early=null"),
        ("steps: 400\n  eval_every: 50", "steps: 45\n  eval_every: 10\n  early: {until: 200, every: 25}", "x.yaml:13: train.steps: 45 is not an evaluation step (up to step 200 train.early.every is 25), and the last step must be one; use 25 or 50"),
        ("eval_every: 50", "early: {until: 30, every: 10}", "x.yaml:13: train.steps: 400 is not an evaluation step (from step 30 on, where train.early ends, train.eval_every is 50), and the last step must be one; use 380 or 430, or train.early=null"),
        ("eval_every: 50", "early: {until: 55, every: 10}", "x.yaml:14: train.early.until: 55 is not a multiple of train.early.every = 10; use 50"),
        ("eval_every: 50", "eval_every: 50\n  batch_size: 30", "x.yaml:14: train.eval_every: 50 steps are not a whole number of epochs, and an epoch has 3 steps; use 48 or 51, or {epochs: n}"),
        ("eval_every: 50", "eval_every: {epochs: 1}\n  batch_size: 30", "x.yaml:13: train.steps: 400 steps are not a whole number of epochs, and an epoch has 3 steps; use 399 or 402, or {epochs: n}"),
    ],
)  # fmt: skip
def test_a_wrong_setting(told, old: str, new: str, sentence: str) -> None:
    assert old in YAML
    assert told(text=YAML.replace(old, new, 1)) == sentence


# -- axes --------------------------------------------------------------------------------------------------------------

FORMS = "a list, {linspace: [first, last, n]}, {logspace: [first, last, n]} or {range: n}"
JOINT = "optimizer.learning_rate, optimizer.weight_decay"
LENGTH = "is a setting with the role extendable; only settings with the role hyper or shape can be an axis"


@pytest.mark.parametrize(
    ("axis", "sentence"),
    [
        ("seed: []", "axes.seed: has no values; give it at least one, or remove the axis"),
        ("seed: {range: 0}", "axes.seed: has no values; give it at least one, or remove the axis"),
        ("seed: 3", f"axes.seed: needs {FORMS}, got 3"),
        ("seed: {rnage: 3}", f'axes.seed: needs {FORMS}, got {{"rnage": 3}}'),
        ("split: {label_noise: [0.1]}", f'axes.split: needs {FORMS}, got {{"label_noise": [0.1]}} (did you mean the axis \'split.label_noise\'?)'),
        ("seed: {range: [0, 5, 0]}", "axes.seed: needs {range: n}, [first, end] or [first, end, step], got [0, 5, 0]"),
        ("seed: {range: 1000000000}", "axes.seed: has 1,000,000,000 values; use at most 200,000"),
        ("model.d_mlp: {linspace: [a, 1, 3]}", 'axes.model.d_mlp: needs numbers [first, last, n] with n at least 1, got ["a", 1, 3]'),
        ("model.d_mlp: {linspace: [1, 2]}", "axes.model.d_mlp: needs numbers [first, last, n] with n at least 1, got [1, 2]"),
        ("model.init_scale: {logspace: [0, 1, 3]}", "axes.model.init_scale: needs positive numbers [first, last, n] with n at least 1, got [0, 1, 3]"),
        ("seed: [1, 1]", "axes.seed: has the same value twice (1); remove one of them"),
        ("optimizer.eps: [1, 1.0]", "axes.optimizer.eps: has the same value twice (1 and 1.0); remove one of them"),
        ("model.d_modle: [16]", "axes.model.d_modle: unknown setting (did you mean 'd_model'?)"),
        ("train_fraction: [0.1]", "axes.train_fraction: unknown setting (did you mean 'split.train_fraction'?)"),
        ("train.steps: [400, 800]", f"axes.train.steps: {LENGTH}"),
        ("train.stop.hold: [1]", f"axes.train.stop.hold: {LENGTH}"),
        ("probes: [[]]", f"axes.probes: {LENGTH}"),
        ("execution.tile: [1, 2]", "axes.execution.tile: is a setting with the role execution; only settings with the role hyper or shape can be an axis"),
        ("seed, train.steps: [[1, 400]]", f"axes.seed, train.steps: train.steps: {LENGTH}"),
        ("seed, seed: [[1, 1]]", "axes.seed, seed: seed is already in axes.seed, seed; remove it from one of the two axes"),
        (f"{JOINT}: [[0.1, 1], [0.2]]", f"axes.{JOINT}: changes 2 settings together, so each value must be a list of 2, got [0.2]"),
        (f"{JOINT}: [0.1, 0.2]", f"axes.{JOINT}: changes 2 settings together, so each value must be a list of 2, got 0.1"),
        # values
        ("model.n_heads: [2, 3]", "axes.model.n_heads: 3 does not divide d_model = 16; use 2, or set d_head"),
        ("model.n_heads, model.d_model: [[2, 16], [5, 16]]", "axes.model.n_heads, model.d_model: model.n_heads: 5 does not divide d_model = 16; use 4, or set d_head"),
        ("task.p, task.operation: [[7, x/y], [9, x/y]]", "axes.task.p, task.operation: task.p: 9 is not prime, but x/y needs a modular inverse; use 7 or 11"),
        (f"{JOINT}: [[0.1, 1], [0.2, -1]]", f"axes.{JOINT}: optimizer.weight_decay: must be at least 0, got -1"),
        ("task.p: [13, '17']", "axes.task.p: needs a whole number, got '17', which is text; write it without quotes"),
        ("seed: [-1]", "axes.seed: must be at least 0, got -1"),
        ("split.train_fraction: [0.5, 0.001]", "axes.split.train_fraction: 0.001 leaves no row of 169 to train; at least 1 row must train and at least 1 must validate"),
        ("train.early: [null, {until: 10, every: 4}]", "axes.train.early: train.early.until: 10 is not a multiple of train.early.every = 4; use 8"),
        ("task: [{kind: permutation, group: S9}]", "axes.task: task.group: needs S3, S4, S5 or A5, got 'S9'"),
    ],
)  # fmt: skip
def test_a_wrong_axis(told, axis: str, sentence: str) -> None:
    assert told(text=YAML.replace("seed: [0, 1]", axis)) == f"x.yaml:16: {sentence}"


def test_an_axis_that_makes_another_setting_wrong_is_named(told) -> None:
    assert told("axes.model.d_model=[16, 17]") == (
        "x.yaml:9: model.n_heads: 2 does not divide d_model = 17; use 1, or set d_head (where axes.model.d_model is 17)"
    )
    words = told(
        "axes.split.train_fraction=[0.3, 0.9]",
        "train.batch_size=51",
        "train.steps=398",
        "train.eval_every=1",
    )
    assert words == (
        "override train.eval_every=1: train.eval_every: 1 steps are not a whole number of epochs, and an epoch has 3 steps; "
        "use 3, or {epochs: n} (where axes.split.train_fraction is 0.9)"
    )


def test_two_points_that_are_one_run(told) -> None:
    words = told("axes.init_seed=[0, null]", "axes.seed=[0]")
    assert (
        words
        == "override axes.init_seed=[0, null]: axes.init_seed: init_seed = 0 and init_seed = null are the same run; remove one of the two values"
    )


def test_the_same_setting_in_two_axes(told) -> None:
    word = "axes.seed, init_seed=[[1, 2]]"
    assert (
        told(word)
        == f"override {word}: axes.seed, init_seed: seed is already in axes.seed; remove it from one of the two axes"
    )
    assert "model.d_mlp is already in axes.model" in told(
        "axes.model=[{kind: quadratic}]", "axes.model.d_mlp=[3]"
    )


def test_a_grid_beyond_all_measure(told) -> None:
    words = told("axes.seed={range: 2000}", "axes.optimizer.eps={linspace: [0, 1, 2000]}")
    assert "axes: would make 4,000,000 runs; use at most 200,000" in words


# -- files and words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "words"),
    [
        (YAML.replace("p: 13}", "p: 13"), "x.yaml:3:6: YAML syntax: ", "expected ',' or '}'"),
        (YAML.replace("p: 13", "p: 13, p: 17"), "x.yaml:2:46: YAML syntax: ", 'duplicate key "p"'),
        (YAML + "name: r\n", "x.yaml:17:1: YAML syntax: ", 'duplicate key "name"'),
        ("a: b: c", "x.yaml:1:5: YAML syntax: ", "mapping values are not allowed here"),
        ("a: \x00", "x.yaml: YAML syntax: ", "unacceptable character"),
        (
            "format: | a b |\n",
            "x.yaml:1:11: YAML syntax: ",
            "a text that begins with | or > must be in quotes",
        ),
        ("", "x.yaml: must be a mapping of settings", "configs/quickstart.yaml"),
        ("- a", "x.yaml: must be a mapping of settings", "configs/quickstart.yaml"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: YAML syntax: ", "expected a single document"),
    ],
)
def test_broken_yaml(told, text: str, start: str, words: str) -> None:
    error = told(text=text)
    assert error.startswith(start) and words in error and "\n" not in error


def test_files_that_cannot_be_read(told) -> None:
    assert told(config="no.yaml") == "no.yaml: cannot be read: No such file or directory"
    Path("folder").mkdir()
    assert told(config="folder") == "folder: cannot be read: Is a directory"
    Path("latin.yaml").write_bytes("name: é".encode("latin-1"))
    assert told(config="latin.yaml") == "latin.yaml: must be a text file in UTF-8"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["plan"], "override plan: has no '='; write setting=value, for example task.p=47"),
        (["=3"], "override =3: has no '='; write setting=value, for example task.p=47"),
        (["task..p=3"], "override task..p=3: task..p: is not the name of a setting; write it like task.p=47"),
        (["--task.p=3"], "--task.p=3: is not an option; write a setting without dashes: task.p=3; see --help"),
        (["--paln"], "--paln: is not an option; see --help"),
        (["--out"], "--out: expected one argument; see --help"),
        (["--out", ""], "override execution.out=\"\": execution.out: must not be empty, got ''"),
        (["task.p=[1"], "override task.p=[1: task.p: YAML syntax: while parsing a flow sequence expected ',' or ']', but got '<stream end>'"),
        (["task.format=| a op b = c |"], "override task.format=| a op b = c |: task.format: a text that begins with | must be in quotes; write 'task.format=\"| a op b = c |\"'"),
        (["task.operation=x^2*y"], f"override task.operation=x^2*y: task.operation: needs {one_of(map(repr, OPERATIONS))}, got 'x^2*y' (did you mean 'x*y'?)"),
        (["task.p=1"], "override task.p=1: task.p: must be at least 2, got 1"),
        (["--plan", "task.p=1"], "override task.p=1: task.p: must be at least 2, got 1"),
        (["task.p=1", "task={kind: modular, p: 0}"], "override task={kind: modular, p: 0}: task.p: must be at least 2, got 0"),
        (["optimizer={kind: adamw}"], "override optimizer={kind: adamw}: optimizer.weight_decay: is missing and has no default; give it a value"),
        (["modle.d_model=3"], "override modle.d_model=3: modle: unknown setting (did you mean 'model'?)"),
        (["model.kind=mpl"], f"override model.kind=mpl: model.kind: unknown kind 'mpl'; use {one_of(MODELS)} (did you mean 'mlp'?)"),
        (["axes.seed=[1, 1]"], "override axes.seed=[1, 1]: axes.seed: has the same value twice (1); remove one of them"),
        (["axes=[1]"], "override axes=[1]: axes: needs a mapping, got [1]"),
    ],
)  # fmt: skip
def test_words_on_the_command_line(told, words: list[str], sentence: str) -> None:
    assert told(*words) == sentence


def test_no_configuration(told) -> None:
    assert "the first word must be a configuration" in told(config="task.p=3")
    assert "the first word must be a configuration" in told(config="--plan")


def test_several_mistakes_are_told_at_once(told) -> None:
    assert told("task.p=1", "model.d_mlp=0").splitlines() == [
        "override task.p=1: task.p: must be at least 2, got 1",
        "override model.d_mlp=0: model.d_mlp: must be at least 1, got 0",
    ]


# -- results directories -----------------------------------------------------------------------------------------------


def existing(*overrides: str) -> Path:
    """A results directory of YAML with overrides, as a training leaves it."""
    Path("x.yaml").write_text(YAML)
    path = Path("results/q")
    path.mkdir(parents=True)
    write_experiment(load_with_places("x.yaml", list(overrides))[0], path)
    return path


@pytest.mark.parametrize(
    ("word", "name", "old", "new"),
    [
        ("optimizer.weight_decay=2", "optimizer.weight_decay", "1.0", "2.0"),
        ("optimizer={kind: sgd}", "optimizer.kind", "adamw", "sgd"),
        ("axes.seed=[0]", "seed", "the axis [0, 1]", "the axis [0]"),
        ("axes.seed=null", "seed", "the axis [0, 1]", "0"),
        ("axes.model.n_heads=[1, 4]", "model.n_heads", "2", "the axis [1, 4]"),
        ("train.steps=350", "train.steps", "400", "350 (smaller)"),
        ("train.eval_every=25", "train.eval_every", "50", "25"),
        ("train.stop={val_accuracy: 0.9}", "train.stop", "not set", '{"val_accuracy": 0.9, "hold": 1, "then": 0}'),
        ("task.p=17", "task.p", "13", "17"),
    ],
)  # fmt: skip
def test_a_directory_of_another_experiment(told, word: str, name: str, old: str, new: str) -> None:
    existing()
    assert told(word) == (
        f"results/q: {name}: is {old} in this results directory, but {new} now; "
        "change it back, or use another directory with --out"
    )


def test_a_directory_of_another_name(told) -> None:
    existing("name=r")
    assert told().startswith("results/q: name: is r in this results directory, but q now; ")


def test_a_grown_grid_and_a_larger_budget_are_no_mistakes(
    told, monkeypatch: pytest.MonkeyPatch
) -> None:
    existing()
    monkeypatch.setattr(session, "train_group", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    words = ["x.yaml"]
    for word in (
        "axes.seed=[0, 1, 2]",
        "train.steps=800",
        "axes.optimizer.weight_decay=[1, 2]",
        "execution.tile=1",
    ):
        words.append(word)
        assert main(words) == 75, "checked, and training begun"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "schema: 3\n",
            "schema: 3 was written by a newer grokjax, but this one reads schemas up to 2; update grokjax",
        ),
        ("schema: new\n", "schema: new was written by a newer grokjax"),
        ("- 1\n", "cannot be read as the experiment of a results directory"),
        ("a: [\n", "cannot be read as the experiment of a results directory"),
        ("a: 1\n", "cannot be read as the experiment of a results directory"),
    ],
)
def test_a_directory_that_is_too_new_or_broken(told, text: str, words: str) -> None:
    put_experiment(existing(), text)
    error = told()
    assert error.startswith("results/q/experiment.yaml: ") and words in error and "\n" not in error


def test_foreign_directories_and_files(told) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("x")
    assert (
        told("--out", "mine")
        == "mine: contains files but is not a results directory; use another directory with --out"
    )
    assert (
        told("--out", "mine/thesis.tex")
        == "mine/thesis.tex: mine/thesis.tex is a file, not a directory; use another directory with --out"
    )
    assert "mine/thesis.tex is a file, not a directory" in told("--out", "mine/thesis.tex/a/b")


def test_a_directory_that_cannot_be_written(told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert (
        told()
        == f"results/q: {Path().absolute()} is not writable; use another directory with --out"
    )


def test_a_directory_in_use(told, tmp_path: Path) -> None:
    from grokjax.results.locks import hold

    path = existing()
    with hold(path):
        error = told()
    assert error.startswith(
        f"results/q: is in use by process {os.getpid()} on {platform.node()}, since "
    )
    note = {"host": "elsewhere", "pid": 7, "since": "2026-01-01"}
    (path / ".lock.json").write_text(json.dumps(note))
    assert "was locked by process 7 on elsewhere" in told()


def test_a_probe_that_model_and_task_cannot_serve(told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grokjax.probes.norms.Norms.requires", frozenset({"attention"}))
    assert told("model={kind: mlp}") == (
        "x.yaml: probes: norms needs a model with attention, but kind mlp with these settings does not offer 'attention' "
        "(ModelKind.offers); remove this probe, or change the model or the task"
    )


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("measurements=[{kind: attention_entropy}]", "override measurements=[{kind: attention_entropy}]: measurements.0.kind: attention_entropy needs "),
        ("measurements=[{kind: pruning, at: all}]", "all needs snapshots, but train.snapshot_every is not set; set it, or use final"),
        ("measurements=[{kind: pruning, at: [70]}] train.snapshot_every=1", "no weights will be saved at step 70 (train.snapshot_every is 1); use "),
        ("probes=[{kind: attention_entropy}]", "attention_entropy needs a model with attention, but kind mlp with these settings does not offer 'attention' (ModelKind.offers); remove this probe, or change the model or the task"),
        ("intervention={kind: scale_output, factor: 2, when: {kind: step, step: 99999999}}", "99999999 is not before the last evaluation of the run; use "),
    ],
)  # fmt: skip
def test_what_could_never_be_measured_or_done(told, word: str, sentence: str) -> None:
    words = word.replace("] train", "]\0train").split("\0")
    assert sentence in told("model={kind: mlp}", *words)


# -- the machine -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_precision_that_the_cpu_ignores(told, precision: str) -> None:
    assert f"train.precision: {precision} is ignored by the CPU" in told(
        f"train.precision={precision}"
    )


def test_more_devices_than_there_are(told) -> None:
    assert "execution.devices: 99 devices are not there, only 4; use at most 4" in told(
        "execution.devices=99"
    )


def test_a_slot_that_does_not_fit_the_memory(told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "memory_limit", lambda platform: 100_000)
    error = told()
    assert (
        "slots need" in error
        and "of memory, but only 0.1 MiB are free" in error
        and "lower execution.slots" in error
        and "\n" not in error
    )


def test_an_override_of_a_setting_that_varies_would_change_nothing(told) -> None:
    text = YAML.replace("axes:\n", "axes:\n  model.d_mlp: [16, 32]\n")
    assert told("model.d_mlp=64", text=text) == (
        "override model.d_mlp=64: model.d_mlp: takes its values from axes.model.d_mlp, so this value would have no effect; "
        "change the axis ('axes.model.d_mlp=[...]') or remove it too (axes.model.d_mlp=null)"
    )
