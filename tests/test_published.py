"""claims.yaml: what is refused and in which words, texts made from numbers, and tables that must not change."""

import hashlib
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from analysis.sources.core import wording
from analysis.sources.core.checks import CHECKS
from analysis.sources.core.claims import HOLDS, WEAKER, Results
from analysis.sources.core.lookup import PublishedError
from analysis.sources.core.published import load
from analysis.sources.core.quantities import QUANTITIES
from analysis.sources.core.report import table
from analysis.sources.core.source import load_source, source_numbers
from tests.synthetic import Row, run_values, write_results
from tests.synthetic_sources import STEPS, write_everything

CONFIGS = Path(__file__).parent.parent / "configs"
NUMBERS = source_numbers()

# Of each source's table from the made-up results of tests/synthetic_sources.py: counts, experiments and rules, and
# then every part. A hash may change only with a changed verdict, and CHANGELOG.md then says which.
TABLES = {
    "000": "8b223bcd 8cf1c1f2 2ca691bb 57b10f20 daf4f8ca 47f5946a",
    "001": "dba67da8 f519d0f5 a2193683 c940e916 6201e332 627fdf7a 4eeff6c4 95ebf40f e6678598 161ae004"
    " e52787c0 8a8f3b7a 196ce3b8 d99654fb fc3753bb",
    "002": "cd7f0a79 d93c1004 45dd5a86 20747407 42d04844 a0971421 e8012ca5 acab1720 40759775 c220040d"
    " cc20b697 f5612e92",
    "003": "1125d902 562946c2 d3bba99f 7e04ae02 97e20001 6796c758 ffccb6e0 254a10e9",
    "004": "69edd398 dc18706d e0d7622b ef1ea047 7e8c94a6 0c250854 827d6cda f3e02338 17034fa6 89d7149e",
}


def test_every_folder_of_a_source_is_found(tmp_path):
    assert NUMBERS == ["000", "001", "002", "003", "004"]
    for name in ("source_007", "source_009", "core"):
        (tmp_path / name).mkdir()
    (tmp_path / "source_007" / "claims.yaml").write_text("title: x\n")
    assert source_numbers(tmp_path) == ["007"]


@pytest.mark.parametrize("number", NUMBERS)
def test_experiments_of_a_source_are_its_configs(number):
    files = (CONFIGS / f"source_{number}").glob("*.yaml")
    names = {YAML(typ="safe").load(file)["name"]: file.stem for file in files}
    assert sorted(load_source(number).experiments) == sorted(names)
    assert all(
        name == f"s{number}_{stem}" for name, stem in names.items()
    )  # as the Makefile has it


@pytest.mark.parametrize("number", NUMBERS)
def test_tables_from_made_up_results_stay_the_same(number, tmp_path):
    source = load_source(number)
    write_everything(tmp_path, source.experiments)
    text = table(source.claims, Results(tmp_path), source.experiments)
    parts = re.split(r"\n\n(?=\*\*[^\n]*\*\*\n)", text)
    hashes = [hashlib.sha256(part.encode()).hexdigest()[:8] for part in parts]
    changed = [
        part
        for part, new, old in zip(parts, hashes, TABLES[number].split(), strict=True)
        if new != old
    ]
    assert not changed, "\n\n".join(changed)


# -- texts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7,763", 7763),
        ("0.83", 0.83),
        ("12.85", 12.85),
        ("6e-05", 6e-5),
        ("1e-8", 1e-8),
        ("1e5", 1e5),
        ("91,107", 91107),
        ("0", 0),
    ],
)
def test_a_number_is_written_as_the_source_has_it(text, number):
    assert wording.written(number) == text


def test_ranges_and_margins_are_written_from_their_numbers():
    assert wording.range_text(0.34, 0.42, True, 10, False) == "34 to 42 %"
    assert wording.range_text(0.3665, 0.4114, True, 10, False) == "36.65 to 41.14 %"
    assert wording.range_text(7000, 8000, False, 10, True) == "≈7,000 to 8,000"
    assert wording.range_text(0.999, 1, True, 10, False) == "99.9 % or more"
    assert wording.range_text(0, 0.001, True, 10, False) == "0.1 % or less"
    assert wording.range_text(1, 1, True, 10, False) == "100 %"
    assert wording.margin_text(0.104, 0.003, True, 10, False) == "10.4 % ± 0.3"
    assert wording.number_text(0.9775, True, 3, True) == "≈97.8 %"


# -- rows --------------------------------------------------------------------------------------------------------------

HEAD = """
title: T
configurations:
  all: {experiment: e}
  norms: {experiment: e, axis: model.ln, runs: {No LN: none, M: mlp-pre}}
  rms: {experiment: a, axis: model.ln, runs: {M: mlp-pre}}
groups:
  both: [norms, rms/M]
parts:
  - part: P
    of: all
    check: number
    rows:
      - """
ROW = "{what: w, read: {end: val_loss}, published: 3}"


def read(row, head=HEAD):
    return load(head + row, "source 007").claims


def test_lists_make_a_row_each_and_stand_in_their_texts():
    row = "{what: '{of} at {time}', of: norms, read: {at: [val_loss, [1000, 20]]}, published: [1, 2000], approx: true}"
    found = [(claim.what, claim.published) for claim in read(row)]
    assert found == [("No LN at 1,000", "≈1"), ("M at 20", "≈2,000")]


def test_a_list_of_sets_is_all_of_their_configurations():
    row = "{what: '{of}, {level}', of: [norms, all], read: {reaches: [val_loss, 1]}, published: 3}"
    assert [claim.what for claim in read(row)] == ["No LN, 1", "M, 1", "all, 1"]


def test_a_group_stands_in_place_of_what_the_part_is_of():
    head = HEAD.replace("of: all", "of: norms")
    row = "{what: w, group: both, read: {reaches: [val_accuracy, 1]}, check: {order: rising}}"
    assert [claim.published for claim in read(row, head)] == ["No LN < M < M"]


def test_a_group_is_one_row_and_its_order_a_text():
    row = "{what: w, group: both, read: {reaches: [val_accuracy, 1]}, check: {order: falling}}"
    (claim,) = read(row)
    assert claim.published == "M < M < No LN"


def test_experiments_come_in_the_order_of_the_configurations():
    assert load(HEAD + ROW, "source 007").experiments == ("e", "a")


def test_a_verdict_hangs_on_approx_and_not_on_a_sign_in_a_text(tmp_path):
    make = lambda p: Row(p, run_values(STEPS, 300.0, 1000.0), "finished")  # noqa: E731
    write_results(tmp_path / "e", {"seed": range(6)}, make, int(STEPS[-1]))
    row = "{what: w, read: {reaches: [train_accuracy, 0.99]}, published: 310, %s}"
    signs = ["told: '≈{published}'", "approx: true", "approx: true, told: '{published}'"]
    found = {sign: read(row % sign)[0] for sign in signs}
    verdicts = [claim.find(Results(tmp_path)).verdict for claim in found.values()]
    assert [claim.published for claim in found.values()] == ["≈310", "≈310", "≈310"]
    assert verdicts == [WEAKER, HOLDS, HOLDS]


def test_a_margin_is_a_range_around_its_middle():
    assert (
        read("{what: w, read: {end: val_loss}, check: every, around: [31.9, 0.3]}")[0].published
        == "31.9 ± 0.3"
    )


WRONG = {
    "{what: w, read: {ends: val_loss}, published: 3}": r"reading must be one of 'at', 'start'.*; 'ends' is unknown",
    "{what: w, read: {end: val_loss}, check: numbr, published: 3}": "check must be one of .*; 'numbr' is unknown",
    "{what: w, of: nrms, read: {end: val_loss}, published: 3}": "must be one of 'all', 'norms'.*; 'nrms' is unknown",
    "{what: w, of: M, read: {end: val_loss}, published: 3}": "must be one of 'norms/M', 'rms/M'; 'M' is in several",
    "{what: '{of}', of: norms, read: {end: val_loss}, published: [1, 2, 3]}": "long.*; of has 2, published has 3",
    "{what: w, of: norms, read: {at: [val_loss, [1, 2, 3]]}, published: 3}": "lists of a row must be equally long",
    "{what: w, read: {end: val_loss}, published: []}": "not empty; published has 0",
    "{what: w, group: [norms/M], read: {end: val_loss}, check: {order: rising}}": "must be two or more configurations",
    "{what: '{of.x}', read: {end: val_loss}, published: 3}": "what must name only .*; '{of.x}' names something else",
    "{what: w, read: {end: val_loss}}": "must have what, of, read, published; 'published' is missing",
    "{what: w, published: 3}": "'read' is missing",
    "{what: w, read: {end: val_loss}, published: ≈3}": "published must be a number; got '≈3'",
    "{what: w, read: {end: val_loss}, check: every, within: [3, 1]}": "must have the smaller number first; got",
    "{what: w, read: {end: val_loss}, check: every, within: 3}": "within must be two numbers; got 3",
    "{what: w, read: {at: val_loss}, published: 3}": "arguments of reading 'at' must be probe, time; 1 are given",
    "{what: w, read: {at: [val_loss, late]}, published: 3}": "reading 'at': time must be a number; got 'late'",
    "{what: w, read: {end: 3}, published: 3}": "reading 'end': probe must be a text; got 3",
    "{what: w, group: norms, read: {end: val_loss}, check: {order: up}}": "must be one of 'rising', 'falling'; got",
    "{what: w, read: {end: val_loss}, check: told}": "must have published, within, around or told; nothing is",
    "{what: '{level}', read: {end: val_loss}, published: 3}": "what must name only .*; '{level}' names something else",
    "{what: w, reed: {end: val_loss}, published: 3}": "key must be one of 'what', 'of'.*; 'reed' is unknown",
    "{what: w, read: {end: val_loss}, show: percents, published: 3}": "must be one of 'plain'.*; 'percents' is unknown",
    "{what: w, read: {end: val_loss}, published: 3, approx: about}": "approx must be true or false; got 'about'",
    "{what: w, read: [end, val_loss], published: 3}": "read must be a name, or {name: arguments}; got [",
    "{what: w, of: norms, read: {end: val_loss}, published: [1, 2]}": "different names; part 'P' has the row 'w' twice",
}


@pytest.mark.parametrize("row", WRONG)
def test_what_is_wrong_in_a_row_is_one_sentence_with_its_place(row):
    with pytest.raises(PublishedError) as caught:
        read(row)
    message = str(caught.value)
    assert message.startswith("source 007") and "part 'P'" in message and "\n" not in message
    assert re.search(WRONG[row].replace("{", r"\{").replace("[", r"\["), message), message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("title: [", "source 007: 1:9 YAML syntax"),
        ("title: T\n", "'configurations' is missing"),
        (
            "title: T\nconfigurations: {a: {runs: {}}}\nparts: []\n",
            "configuration 'a' must have an experiment",
        ),
        (
            HEAD.replace("axis: model.ln, ", "", 1) + ROW,
            "must be {setting: value}, or the set must have an axis; got",
        ),
        (
            HEAD.replace("{M: mlp-pre}", "[M]") + ROW,
            "configuration 'rms': runs must be {name: value}; got ['M']",
        ),
        (HEAD.replace("rms/M", "rms/K") + ROW, "group 'both': configuration must be one of"),
        (
            HEAD.replace("part: P", "name: P") + ROW,
            "a part must be {part: ..., rows: [...]}; this one has no name",
        ),
    ],
)
def test_a_file_that_is_no_claims_file_is_refused_in_one_sentence(text, why):
    with pytest.raises(PublishedError, match=re.escape(why)) as caught:
        load(text, "source 007")
    assert "\n" not in str(caught.value)


def test_every_word_that_claims_may_use_is_explained():
    for name, function in [*QUANTITIES.items(), *((n, c.judge) for n, c in CHECKS.items())]:
        assert function.__doc__ or function.__name__ == "<lambda>", name
