"""Which of several KV caches a prompt is computed in."""

from __future__ import annotations

from edgechat.engine.kv_cache import WORTH_KEEPING, Cache, RecentCaches, common_prefix

SYSTEM = list(range(20))
LONG = WORTH_KEEPING * 2


def caches(capacity: int = 2, has_room: bool = True) -> RecentCaches:
    made = iter(range(100))
    return RecentCaches(lambda: (next(made), None), capacity=capacity, has_room=lambda: has_room)


def held(recent: RecentCaches, tokens: list[int], *, ahead: bool = False) -> Cache:
    """Take a cache and compute these tokens in it, as an engine does."""
    cache = recent.take(tokens, ahead=ahead)
    cache.tokens[:] = tokens
    return cache


def talk(number: int, length: int = LONG) -> list[int]:
    return [*SYSTEM, *range(number * 10_000, number * 10_000 + length)]


def test_common_prefix() -> None:
    assert common_prefix([], [1]) == 0
    assert common_prefix([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_prefix([1, 2], [1, 2, 3]) == 2


def test_the_next_turn_an_edit_near_the_end_and_another_reply_stay_in_their_cache() -> None:
    recent = caches()
    first = held(recent, talk(1))
    assert recent.take([*talk(1), 5, 6]) is first
    assert recent.take([*talk(1)[:-50], 5, 6]) is first
    assert recent.take(talk(1)[:100]) is first, "the whole prompt is held, only another reply is wanted"


def test_another_chat_gets_a_cache_and_both_are_found_again() -> None:
    recent = caches()
    first, second = held(recent, talk(1)), held(recent, talk(2))
    assert first is not second
    assert recent.take([*talk(1), 7]) is first
    assert recent.take([*talk(2), 7]) is second


def test_an_early_edit_leaves_the_other_branch_alone() -> None:
    recent = caches()
    first = held(recent, talk(1))
    assert recent.take([*talk(1)[:40], 5, 6], ahead=True) is not first


def test_little_is_not_worth_a_cache() -> None:
    recent = caches()
    assert held(recent, talk(1, 30)) is held(recent, talk(2))


def test_the_least_recently_used_goes() -> None:
    recent = caches()
    first, second = held(recent, talk(1)), held(recent, talk(2))
    recent.take([*talk(1), 7])
    assert held(recent, talk(3)) is second
    assert recent.take([*talk(1), 7]) is first
    assert len(recent) == 2


def test_one_cache_and_no_memory_are_the_plain_rule() -> None:
    for recent in (caches(capacity=1), caches(has_room=False)):
        assert held(recent, talk(1)) is held(recent, talk(2))
        assert len(recent) == 1


def test_a_fresh_one_takes_the_place_of_the_old() -> None:
    recent = caches()
    first = held(recent, talk(1))
    again = recent.take(talk(1), fresh=True)
    assert again is not first
    assert again.tokens == []
    assert len(recent) == 1


def test_a_chat_begun_ahead_is_the_one_gone_on_with() -> None:
    recent = caches()
    first = held(recent, talk(1))
    begun = held(recent, SYSTEM, ahead=True)
    assert begun is not first
    assert recent.take([*SYSTEM, 7, 8, 9]) is begun
