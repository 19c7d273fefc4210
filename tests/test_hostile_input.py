"""Input that nobody writes by accident: it too is told in short sentences, at once, with exit code 2."""

from __future__ import annotations

# ruff: noqa: E501 - a sentence is read as a whole
import os
import time
from pathlib import Path

import pytest

import grokjax
from grokjax.cli.commands import main
from grokjax.driver import session
from grokjax.experiment.parsing import Unreadable, parse_yaml
from grokjax.experiment.places import ConfigError
from grokjax.quoting import cut, shown
from tests import test_bad_input

YAML = test_bad_input.YAML
told = test_bad_input.told

DEEP = "lists and mappings are nested more than 30 levels deep; settings need only a few levels"
NINES = "9" * 5000


# -- what YAML allows and Python does not ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: " + "[" * 300 + "]" * 300, f"x.yaml: {DEEP}"),
        ("a: " + "[" * 40 + "]" * 40, f"x.yaml: {'.'.join(['a', *['0'] * 30])}: {DEEP}"),
        ("a: " + "[" * 20_000, f"x.yaml: {DEEP}"),
        ("a: &x {b: *x}", "x.yaml:1:4: a.b: contains itself; write its value out instead of the alias (*)"),
        ("a: &x [*x]", "x.yaml:1:4: a.0: contains itself; write its value out instead of the alias (*)"),
        ("&x\na: *x", "x.yaml:1:1: a: contains itself; write its value out instead of the alias (*)"),
        ("a: &x\n  <<: *x\n  b: 1", "x.yaml:1:4: a.<<: contains itself; write its value out instead of the alias (*)"),
        ("task: {p: !!int x}", "x.yaml:1:11: task.p: x cannot be read as a whole number; write a number of at most 300 digits, or a text in quotes"),
        ("name: 2020-13-45", "x.yaml:1:7: name: 2020-13-45 cannot be read as a date; write a number of at most 300 digits, or a text in quotes"),
        ("seed: " + "9" * 301, "x.yaml: seed: got a number of 301 digits; use at most 300 digits"),
        ("seed: 0x" + "f" * 5000, "x.yaml: seed: got a number of 6,021 digits; use at most 300 digits"),
        ("a: {1: x, '1': y}", "x.yaml: a: has the name 1 twice; remove one of them"),
        (YAML + "  'init_seed,split_seed': [[1, 2]]\n  'init_seed, split_seed': [[1, 2]]\n", "x.yaml:18: axes.init_seed, split_seed: is there twice; remove one of the two axes"),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_yaml_that_python_cannot_hold(told, text: str, sentence: str) -> None:
    assert told(text=text) == sentence


def test_a_number_of_5000_digits(told) -> None:
    right = "cannot be read as a whole number; write a number of at most 300 digits"
    for error in (told(text=YAML.replace("p: 13", f"p: {NINES}")), told(f"task.p={NINES}")):
        assert f"task.p: {cut(NINES)} {right}" in error and "\n" not in error and len(error) < 400


def test_aliases_that_stand_for_a_thousand_million_values(told) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    began = time.perf_counter()
    error = told(text="\n".join(lines))
    assert "values; use at most 2,000,000" in error and "\n" not in error
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("word", ["task.p=!!int x", "task.p=2020-13-45", "task=" + "[" * 300])
def test_overrides_that_python_cannot_hold(told, word: str) -> None:
    error = told(word)
    assert error.startswith(f"override {cut(word)}: task") and "\n" not in error


def test_a_name_of_a_thousand_parts(told) -> None:
    word = ".".join(["a"] * 1000) + "=1"
    assert told(word) == (
        f"override {cut(word)}: {cut(word[:-2])}: is not the name of a setting; write it like task.p=47"
    )
    assert "unknown setting" in told("axes." + word.replace("=1", "=[1]"))


def test_a_name_in_bytes_that_are_no_text(told) -> None:
    assert told("\udc80=1") == (
        "override \\udc80=1: \\udc80: is not the name of a setting; write it like task.p=47"
    )


def test_paths_with_a_null_byte(told) -> None:
    assert told(config="a\0b") == "a\\x00b: a path cannot contain a null byte; remove it"
    assert told("--out", "a\0b").endswith(
        "execution.out: a path cannot contain a null byte, got 'a\\x00b'"
    )
    assert "this results directory does not exist" in told("--measure", config="a\0b")


def test_paths_that_are_too_long(told) -> None:
    long = "a" * 5000
    assert told(config=long) == f"{cut(long, 250)}: cannot be read: File name too long"
    assert "File name too long" in told("--out", long)
    assert "this results directory does not exist" in told("--measure", config=long)


def test_the_same_value_with_another_sign_or_form(told) -> None:
    assert told("axes.optimizer.weight_decay=[0.0, -0.0]").endswith(
        "has the same value twice (0.0 and -0.0); remove one of them"
    )
    word = "axes.task=[{kind: modular, p: 7}, {kind: modular, p: 7.0}]"
    assert "has the same value twice" in told(word)


# -- how long the answer is --------------------------------------------------------------------------------------------

LONG = "long" * 50_000


@pytest.mark.parametrize(
    "word",
    [
        LONG,
        f"{LONG}=1",
        f"task.{LONG}=1",
        f"task.p='{LONG}'",
        f"task.p=[{LONG}",
        f"task.p=*{LONG}",
        f"task.kind={LONG}",
        f"task.operation={LONG}",
        f"train.loss={LONG}",
        f"task={{{LONG}: 1}}",
        f"task={LONG}",
        f"name={LONG}",
        f"axes.{LONG}=[1]",
        f"axes.seed={LONG}",
        f"axes.seed=[{LONG}]",
        f"axes.seed=[{LONG}, {LONG}]",
        f"axes.seed={{{LONG}: 3}}",
        f"axes.seed={{range: {LONG}}}",
        f"axes.task=[{{kind: {LONG}}}]",
        f"axes.train.{LONG}, train.{LONG}=[[1, 2]]",
        f"axes={{{LONG}: [1]}}",
        f"probes=[{LONG}]",
        f"--{LONG}",
        f"--{LONG}=1",
        f"--plan={LONG}",
    ],
    ids=lambda word: word.replace(LONG, "LONG"),
)
def test_long_input_is_cut_in_the_answer(told, word: str) -> None:
    error = told(word)
    assert len(error) < 600 and "\n" not in error


def test_long_names_of_files_are_cut(told) -> None:
    for words in ({"config": LONG}, {"text": f"{LONG}: 1"}, {"text": YAML.replace("13", LONG)}):
        error = told(**words)
        assert len(error) < 1000
    assert len(told("--out", LONG)) < 1000


def test_two_thousand_mistakes(told) -> None:
    began = time.perf_counter()
    error = told(text=YAML + "".join(f"key{i}: 1\n" for i in range(2000))).splitlines()
    assert len(error) == 11 and error[0].startswith("x.yaml:17: key0: unknown setting")
    assert error[-1] == "and 1,990 more"
    assert time.perf_counter() - began < 10


def test_what_was_written_is_told_on_one_line() -> None:
    assert cut("a\nb\tc\x1b[31m\0é") == "a\\nb\\tc\\x1b[31m\\x00é"
    assert cut("0123456789" * 100).startswith("0123456789") and len(cut("a" * 81)) == 80
    assert cut("x" * 80) == "x" * 80 and " … " in cut("x" * 81)
    assert shown(10**5000) == "a number of 5,001 digits"
    ring: list = []
    ring.append(ring)
    assert shown(ring) == "a list that cannot be shown" and shown({(1,): 2}).startswith("a dict")


# -- the command line and the Python interface -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "a", "--out", "b"], "--out: is given twice; give one results directory"),
        (["--out=a", "--out=a"], "--out: is given twice; give one results directory"),
        (["--out"], "--out: expected one argument; see --help"),
        (["-x"], "-x: is not an option; see --help"),
    ],
)  # fmt: skip
def test_options(told, words: list[str], sentence: str) -> None:
    assert told(*words) == sentence


def test_settings_of_execution_from_python(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(YAML)
    with pytest.raises(ConfigError, match=r"^execution: slotz: unknown setting"):
        grokjax.run(path, slotz=3)
    with pytest.raises(ConfigError, match=r"^execution: slots: must be at least 1, got 0"):
        grokjax.run(path, slots=0)
    with pytest.raises(ConfigError, match="null byte"):
        grokjax.run(path, out="a\0b")


def test_figures_that_cannot_be_drawn_are_told_after_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "run_experiment", lambda *_, **__: tmp_path)
    (tmp_path / "x.yaml").write_text(YAML)
    monkeypatch.chdir(tmp_path)
    assert main(["x.yaml"]) == 2
    error = capsys.readouterr().err
    assert "contains no experiment.yaml" in error and "the training is done and saved" in error


def test_an_experiment_on_disk_that_is_no_text(told) -> None:
    path = test_bad_input.existing()
    for file in (path / "experiment.yaml", path / ".experiment.json"):
        file.write_bytes(os.urandom(50) + b"\xff\xfe")
    assert "is damaged (it is not UTF-8 text); restore it from a copy" in told()


def test_a_parsed_text_knows_its_place() -> None:
    with pytest.raises(Unreadable) as caught:
        parse_yaml("a: 1\nb: [1, !!int x]")
    assert caught.value.place == ":2:8"
