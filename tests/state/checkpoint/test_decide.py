"""Which checkpoint a job goes on from: the rule, over all small facts and all small worlds."""

from collections.abc import Iterator
from itertools import product

import pytest

from streame.state.checkpoint.decide import (
    Damaged,
    Decision,
    Fact,
    Facts,
    ForeignJob,
    Fresh,
    LookAt,
    Lost,
    NewerFormat,
    Resume,
    Shown,
    Sound,
    decide,
)
from streame.state.checkpoint.manifest import Foreign
from streame.state.checkpoint.sealed import Broken, Newer

NUMBERS = (1, 2, 3)
BAD = ("a.pack: it is not there",)


def small_facts() -> Iterator[Facts]:
    """Everything that may be found of three checkpoints."""
    choices: list[list[Fact | None]] = []
    for number in NUMBERS:
        shown = [
            Shown(since, number, frozenset(each for each, there in zip(NUMBERS, bits, strict=True) if there))
            for since in range(1, number + 1)
            for bits in product((False, True), repeat=3)
            if all(since <= each <= number for each, there in zip(NUMBERS, bits, strict=True) if there)
        ]
        sound: list[Fact] = [Sound(each, damaged) for each in shown for damaged in ((), BAD, None)]
        choices.append([None, Broken("torn"), Newer(2), Foreign("other"), *sound])
    for each in product(*choices):
        manifests = {number: fact for number, fact in zip(NUMBERS, each, strict=True) if fact is not None}
        for ever in (False, True):
            yield Facts(manifests, ever)


def by_the_rule(facts: Facts) -> Decision:
    """The rule once more, in other words: what may stop the job, from the top, and what then is behind it."""
    bad = {
        number
        for number, fact in facts.manifests.items()
        if isinstance(fact, Broken) or (isinstance(fact, Sound) and fact.damaged)
    }
    good = sorted(facts.manifests.keys() - bad)
    if not facts.manifests:
        return Lost() if facts.ever_shown else Fresh()
    highest = max(facts.manifests)
    fact = facts.manifests[highest]
    why = f"its manifest is damaged: {fact.why}" if isinstance(fact, Broken) else BAD[0]
    if not good:
        return Damaged(highest, why, "")
    match facts.manifests[good[-1]]:
        case Newer(version):
            return NewerFormat(good[-1], version)
        case Foreign(job):
            return ForeignJob(good[-1], job)
        case Sound(damaged=None):
            return LookAt(good[-1])
    for number in range(good[-1] + 1, highest + 1):
        witnesses = [
            each.shown
            for each in facts.manifests.values()
            if isinstance(each, Sound) and number in range(each.shown.since, each.shown.until + 1)
        ]
        if (facts.ever_shown and not witnesses) or any(number in each.numbers for each in witnesses):
            return Damaged(highest, why, "")
    return Resume(good[-1], tuple(sorted(number for number in facts.manifests if number > good[-1])))


def test_the_decision_is_the_rule_for_all_small_facts() -> None:
    count = 0
    for facts in small_facts():
        count += 1
        found, expected = decide(facts), by_the_rule(facts)
        if isinstance(found, Damaged) and isinstance(expected, Damaged):
            assert (found.number, found.why) == (expected.number, expected.why), facts
        else:
            assert found == expected, facts
    assert count > 10_000


@pytest.mark.parametrize("history", [1, 2, 4])
def test_in_no_small_world_is_anything_lost_that_was_seen(history: int) -> None:
    """Worlds are made first, facts follow from them: what was shown, what then became of each checkpoint."""
    resumed = stopped = lost = 0
    for shows in product((False, True), repeat=4):
        seen = {number for number, there in enumerate(shows, start=1) if there}
        for fates in product(("whole", "torn", "files", "gone"), repeat=4):
            manifests: dict[int, Fact] = {}
            for number, fate in enumerate(fates, start=1):
                since = max(1, number - history + 1)
                shown = Shown(since, number, frozenset(seen & set(range(since, number + 1))))
                if fate == "torn":
                    manifests[number] = Broken("torn")
                elif fate != "gone":
                    manifests[number] = Sound(shown, () if fate == "whole" else BAD)
            decision = decide(Facts(manifests, bool(seen)))
            reachable = max(manifests, default=0)  # nobody can know of what has gone from the end
            match decision:
                case Resume(number):
                    resumed += 1
                    assert fates[number - 1] == "whole"
                    assert "whole" not in fates[number:reachable]
                    assert not any(number < each <= reachable for each in seen), (shows, fates)
                case Damaged():
                    stopped += 1
                    assert fates[reachable - 1] != "whole"
                    assert seen or "whole" not in fates, (shows, fates)
                case Lost():
                    lost += 1
                    assert seen
                    assert not manifests
                case _:
                    assert isinstance(decision, Fresh)
                    assert not seen
                    assert not manifests
    assert resumed > 500
    assert stopped > 500
    assert lost == 15


def test_the_reason_names_what_was_seen() -> None:
    facts = Facts({1: Sound(Shown(1, 1), ()), 2: Sound(Shown(1, 2, frozenset({2})), BAD)}, ever_shown=True)
    assert decide(facts) == Damaged(
        2,
        BAD[0],
        "output of checkpoint 2 may have been published, or its rows acknowledged to their source, so going on from "
        "checkpoint 1 could lose or double it",
    )
