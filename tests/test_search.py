"""How many tiles a device holds: the search, and what is remembered of it."""

from __future__ import annotations

import pytest

from grokjax.engine.tile_search import Memory, TileSearch


def found(rates: dict[int, float], most: int) -> tuple[int, list[int]]:
    """What is chosen for a device with these rates, and what was tried."""
    search, tried = TileSearch(most), []
    while search.searching:
        tried.append(search.tiles)
        search.observe(int(1000 * rates[search.tiles]), 1.0, search.tiles)
    return search.tiles, tried


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ({1: 10, 2: 10, 4: 10, 6: 10}, 6),
        ({1: 5, 2: 9, 4: 10, 6: 8}, 4),
        ({1: 10, 2: 9.8, 4: 9.6, 6: 9}, 2),
        ({1: 10, 2: 5, 4: 5, 6: 5}, 1),
    ],
)
def test_the_most_tiles_at_nearly_the_best_rate_are_held(rates, chosen):
    assert found(rates, 6) == (chosen, [1, 2, 4, 6])


def test_a_single_tile_and_a_known_number_are_not_searched_for():
    assert not TileSearch(1).searching and TileSearch(1).tiles == 1
    assert not TileSearch(8, known=2).searching and TileSearch(8, known=2).tiles == 2
    assert TileSearch(2, known=8).tiles == 2  # there are only two now


def test_the_search_ends_where_nothing_waits_any_more():
    search = TileSearch(8)
    search.observe(100, 1.0, 1)
    search.observe(100, 1.0, 1)  # two tiles were to be filled, one was in use
    assert not search.searching and search.tiles == 2


def test_choices_are_remembered_by_key(tmp_path):
    memory = Memory(tmp_path / "deeper" / "slots.json")
    assert memory.recall("a") is None
    for key, most in (("a", 4), ("b", 2)):
        search = TileSearch(most)
        while search.searching:
            search.observe(100, 1.0, most)
        memory.note(key, search)
    again = Memory(memory.path)
    assert (again.recall("a"), again.recall("b"), again.recall("c")) == (4, 2, None)
    assert [p.name for p in memory.path.parent.iterdir()] == ["slots.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"a": 3}', '{"a": {"tiles": "many"}}', '{"a": {"tiles": 0}}']
)
def test_a_damaged_memory_is_an_empty_one(tmp_path, text):
    (tmp_path / "slots.json").write_text(text)
    memory = Memory(tmp_path / "slots.json")
    assert memory.recall("a") is None
    search = TileSearch(2)
    search.observe(1, 1.0, 1), search.observe(2, 1.0, 2)
    memory.note("a", search)
    assert memory.recall("a") == 2


def test_a_directory_that_cannot_be_written_is_no_reason_to_stop(tmp_path):
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "slots.json")
    memory.note("a", TileSearch(1))
    assert memory.recall("a") is None
