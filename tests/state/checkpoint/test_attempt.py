"""How careful a start is and which row is to blame: single decisions, and whole lives of jobs that die at rows."""

from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import pytest

from streame.state.checkpoint.attempt import (
    ALONE_MAX,
    CONDEMNED_MAX,
    CRASHES_MAX,
    FIRST_ALLOWANCE,
    NARROWER,
    UNEXPLAINED_MAX,
    WIDER,
    Accused,
    Attempt,
    Portion,
    Row,
    next_attempt,
)

SPLITS = (("files", "a"), ("files", "b"), ("queue", "rows"))


def row(offset: int, source: str = "files", split: str = "a") -> Row:
    return Row(source, split, offset, f"digest {offset}", f"row {offset}")


def careful(allowance: int, **more: object) -> Attempt:
    return replace(Attempt(3, crashes=CRASHES_MAX, allowance=allowance), **more)  # type: ignore[arg-type]


def test_the_first_start_is_at_full_speed() -> None:
    assert next_attempt(None, 0) == Attempt(0)
    assert next_attempt(None, 7) == Attempt(7)


def test_three_deaths_at_one_checkpoint_make_the_next_start_careful() -> None:
    attempt = Attempt(3)
    for crashes in range(1, CRASHES_MAX):
        attempt = next_attempt(attempt, 3)
        assert attempt == Attempt(3, crashes=crashes)
    assert next_attempt(attempt, 3) == careful(FIRST_ALLOWANCE)


def test_a_later_checkpoint_begins_the_count_anew() -> None:
    assert next_attempt(Attempt(3, crashes=2), 4) == Attempt(4, crashes=1)


def test_an_end_in_order_is_no_crash() -> None:
    assert Attempt(3, crashes=2).ended() is None
    at_work = careful(64).let_out("files", "a", 5, None)
    ended = at_work.ended()
    assert ended is not None
    assert next_attempt(ended, 3) == careful(64)


def test_what_is_known_of_another_checkpoint_is_forgotten_when_a_job_is_set_back() -> None:
    assert next_attempt(careful(1, condemned=(row(5),)), 2) == Attempt(2)


def test_a_death_among_rows_makes_them_suspects_and_fewer_go_on_at_once() -> None:
    died = careful(FIRST_ALLOWANCE).let_out("files", "a", 4_000, None).let_out("files", "b", 96, None)
    after = next_attempt(died, 3)
    assert after.allowance == 4_096 // NARROWER
    assert after.suspects == (Portion("files", "a", 4_000), Portion("files", "b", 96))
    assert (after.in_flight, after.crashes) == ((), CRASHES_MAX + 1)
    few = next_attempt(careful(FIRST_ALLOWANCE).let_out("files", "a", 2, None), 3)
    assert few.allowance == 1


def test_a_row_that_was_alone_once_is_not_condemned() -> None:
    died = careful(1).let_out("files", "a", 1, row(5))
    once = next_attempt(died, 3)
    assert (once.accused, once.condemned) == ((Accused(row(5), 1),), ())
    twice = next_attempt(once.let_out("files", "a", 1, row(5)), 3)
    assert (twice.accused, twice.condemned) == ((), (row(5),))


def test_deaths_of_different_rows_are_not_added_up() -> None:
    once = next_attempt(careful(1).let_out("files", "a", 1, row(5)), 3)
    other = next_attempt(once.let_out("queue", "rows", 1, row(9, "queue", "rows")), 3)
    assert not other.condemned
    assert {each.deaths for each in other.accused} == {1}


def test_a_row_that_has_passed_is_acquitted() -> None:
    suspects = (Portion("files", "a", 3),)
    accused = careful(1, suspects=suspects, accused=(Accused(row(5), 1),)).let_out("files", "a", 1, row(5))
    passed = accused.decided(4, used_up=True)
    assert (passed.accused, passed.suspects, passed.allowance) == ((), (Portion("files", "a", 2),), 1)


def test_a_row_that_was_set_aside_is_so_with_the_checkpoint_or_once_more() -> None:
    condemned = careful(1, condemned=(row(5),), suspects=(Portion("files", "a", 3),)).set_aside(row(5))
    assert (condemned.condemned, condemned.skipped) == ((), (row(5),))
    assert next_attempt(condemned, 3).condemned == (row(5),)
    decided = condemned.decided(4, used_up=True)
    assert (decided.condemned, decided.skipped, decided.suspects) == ((), (), (Portion("files", "a", 2),))
    assert next_attempt(condemned, 4).condemned == ()


def test_the_job_is_back_at_full_speed_when_the_allowance_holds_nothing_up() -> None:
    at_work = careful(8).let_out("files", "a", 8, None)
    assert at_work.decided(4, used_up=True) == Attempt(4, allowance=8 * WIDER)
    assert at_work.decided(4, used_up=False, calm=True) == Attempt(4, crashes=CRASHES_MAX - 1)
    assert next_attempt(at_work.decided(4, used_up=False, calm=True), 4).allowance == FIRST_ALLOWANCE
    assert next_attempt(at_work.decided(4, used_up=False, calm=True), 5) == Attempt(5, crashes=1)
    assert at_work.decided(4, used_up=False) == Attempt(4, allowance=8)
    suspected = replace(at_work, suspects=(Portion("files", "b", 1),))
    assert suspected.decided(4, used_up=False, calm=True).allowance == 8
    assert suspected.without("files", "b").decided(4, used_up=False, calm=True).allowance is None
    assert suspected.without("files").decided(4, used_up=False, calm=True).allowance is None


@pytest.mark.parametrize("at_work", [0, 2])
def test_deaths_that_point_to_no_row_are_counted(at_work: int) -> None:
    attempt = careful(1)
    for deaths in range(1, UNEXPLAINED_MAX + 1):
        died = attempt.let_out("files", "a", at_work, None) if at_work else attempt
        attempt = next_attempt(died, 3)
        assert (attempt.unexplained, attempt.condemned, attempt.allowance) == (deaths, (), 1)


def test_sources_that_are_gone_are_not_waited_for() -> None:
    attempt = careful(
        1, suspects=(Portion("files", "a", 1),), accused=(Accused(row(5), 1),), condemned=(row(6),)
    )
    assert attempt.of_sources(["queue"]) == careful(1)
    assert attempt.of_sources(["files"]) == attempt


@dataclass
class Life:
    """A job with some splits, whose process dies at some rows, and sometimes without a reason.

    Args:
        rows: how many each split has.
        deadly: which of them kill.
        random: draws what is read next, and who is killed.
        due: how likely a checkpoint is made before each step, whether or not rows wait for it.
        kills: how likely a process is killed before each step.
    """

    rows: dict[tuple[str, str], int]
    deadly: frozenset[tuple[tuple[str, str], int]]
    random: np.random.Generator
    due: float = 0.0
    kills: float = 0.0
    checkpoint: int = 0
    done: dict[tuple[str, str], int] = field(default_factory=dict)
    aside: list[tuple[tuple[str, str], int]] = field(default_factory=list)
    file: Attempt | None = None
    deaths: int = 0

    def live(self, deaths_max: int) -> None:
        """Start processes until one comes to the end."""
        while not self.runs():
            self.deaths += 1
            assert self.deaths <= deaths_max, self
            assert self.file is not None
            assert len(self.file.condemned) < CONDEMNED_MAX

    def runs(self) -> bool:
        """One process; whether it comes to the end."""
        attempt = self.file = next_attempt(self.file, self.checkpoint)
        position = {split: self.done.get(split, 0) for split in self.rows}
        aside: list[tuple[tuple[str, str], int]] = []
        while True:
            if self.kills and self.random.random() < self.kills:
                return False
            left = [split for split in self.rows if position[split] < self.rows[split]]
            room = 10**9 if attempt.allowance is None else attempt.allowance - attempt.at_work
            if not left or room <= 0 or self.random.random() < self.due:
                self.checkpoint, self.done = self.checkpoint + 1, dict(position)
                self.aside += aside
                aside = []
                was_careful = attempt.allowance is not None
                if was_careful:
                    attempt = attempt.decided(self.checkpoint, used_up=room <= 0, calm=room > 0)
                    self.file = self.file if attempt.allowance is not None else attempt
                if not left:
                    return True
                continue
            left = [split for split in left if split[0] in attempt.awaited] or left
            split = left[int(self.random.integers(len(left)))]
            known = row(position[split], *split)
            if known in attempt.condemned:
                attempt = self.file = attempt.set_aside(known)
                aside.append((split, position[split]))
                position[split] += 1
                continue
            count = min(room, self.rows[split] - position[split], int(self.random.integers(1, 5_000)))
            if attempt.allowance is not None:
                alone = known if count == 1 and not attempt.in_flight else None
                attempt = self.file = attempt.let_out(*split, count, alone)
            if any(
                (split, number) in self.deadly for number in range(position[split], position[split] + count)
            ):
                return False
            position[split] += count


@pytest.mark.parametrize("count", range(4))
def test_every_choice_of_deadly_rows_among_few_is_found(count: int, seed: int) -> None:
    rows = dict.fromkeys(SPLITS[1:], 4)
    everywhere = [(split, number) for split, total in rows.items() for number in range(total)]
    for deadly in combinations(everywhere, count):
        for number in range(10):
            life = Life(rows, frozenset(deadly), np.random.default_rng([seed, number]))
            life.live(CRASHES_MAX + (2 + ALONE_MAX) * max(1, count))
            assert sorted(life.aside) == sorted(deadly)
            assert life.done == rows


@pytest.mark.parametrize(("due", "deaths_max"), [(0.0, 8), (0.02, 50), (0.2, 50)])
def test_deadly_rows_among_many_are_found_in_few_deaths(due: float, deaths_max: int, seed: int) -> None:
    """More where checkpoints that come by chance let a start go on at full speed just before a deadly row."""
    print(f"seed {seed}")
    for number in range(60):
        random = np.random.default_rng([seed, number])
        rows = {split: int(random.integers(0, 20_000)) for split in SPLITS}
        places = [split for split in SPLITS if rows[split]]
        deadly = frozenset(
            (split, int(random.integers(rows[split])))
            for split in (places[int(random.integers(len(places)))] for _ in range(int(random.integers(4))))
        )
        life = Life(rows, deadly, random, due=due)
        life.live(deaths_max * len(deadly))
        assert sorted(life.aside) == sorted(deadly)
        assert life.done == rows


def test_kills_without_a_reason_lose_no_row(seed: int) -> None:
    print(f"seed {seed}")
    for number in range(200):
        random = np.random.default_rng([seed, number])
        life = Life(
            dict.fromkeys(SPLITS, 10_000), frozenset(), random, 0.02, float(random.uniform(0.001, 0.2))
        )
        life.live(10_000)
        assert life.done == life.rows
        # A row that was alone at two kills is set aside: it takes many in a row, all without a checkpoint between.
        assert len(life.aside) <= life.deaths // (CRASHES_MAX + ALONE_MAX)
