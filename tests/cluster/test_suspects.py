"""For how long a node is left out that was lost, again and again."""

from streame.cluster.suspects import LEFT_OUT_MAX_S, Suspect, lost, worked

LEASE_S = 2.0


def left_out(lives_s: list[float | None]) -> list[float]:
    """How long a node is left out that then has checkpoints for so many seconds, or none at all, and is lost again."""
    suspect: Suspect | None = None
    found, now = [], 100.0
    for works_s in lives_s:
        suspect = lost(suspect, LEASE_S, now)
        found.append(suspect.left_out_s)
        assert suspect.until == now + suspect.left_out_s
        now = suspect.until + 1.0
        if works_s is not None:
            for passed_s in (0.0, works_s):
                suspect = worked({"a": suspect}, ["a", "b"], now + passed_s)["a"]
            now += works_s
    return found


def test_one_that_never_works_is_left_out_longer_each_time() -> None:
    assert left_out([None] * 7) == [3.0, 6.0, 12.0, 24.0, 48.0, LEFT_OUT_MAX_S, LEFT_OUT_MAX_S]


def test_one_that_works_in_between_is_not() -> None:
    assert left_out([3.0] * 70) == [3.0] * 70


def test_it_must_have_worked_for_as_long_as_it_was_left_out() -> None:
    assert left_out([None, None, 11.9, 24.0, 5.0]) == [3.0, 6.0, 12.0, 24.0, 3.0]


def test_others_are_not_judged() -> None:
    suspects = {"a": Suspect(5.0, 3.0), "b": Suspect(6.0, 3.0)}
    assert worked(suspects, ["a", "c"], 7.0) == {"a": Suspect(5.0, 3.0, 7.0), "b": Suspect(6.0, 3.0)}
