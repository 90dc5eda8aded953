"""What every etcd keeps: the twin in memory, a real one of one member, and one of three."""

import random
from collections.abc import Callable

import pytest

from streame.cluster.etcd.client import PAGE_KEYS, EtcdClient
from streame.cluster.etcd.election import Leadership, resign
from streame.cluster.etcd.interface import (
    OPERATIONS_MAX,
    Compare,
    Delete,
    Etcd,
    Event,
    Field,
    Get,
    KeyValue,
    Operation,
    Outcome,
    Put,
    Relation,
    Transaction,
)
from streame.cluster.etcd.swap import NotSwapped, Swap, Swapped, carry_out
from streame.errors import Compacted, EtcdError, LeaseLost, RequestTooLarge
from streame.testing.memory_etcd import MemoryEtcd
from tests.cluster.campaign import Observer, campaign
from tests.cluster.worlds import World, put, taken
from tests.services.etcd import EtcdServers


def absent(key: str) -> Compare:
    return Compare(key, Field.CREATE_REVISION, 0)


def test_a_key_is_made_once(world: World) -> None:
    key = world.prefix + "a"
    before = world.etcd.get(key)
    assert before.entry is None
    making = Transaction((absent(key),), (Put(key, b"1"), Get(key)), (Get(key),))
    first = world.etcd.transact(making)
    entry = KeyValue(key, b"1", first.revision, first.revision, 1)
    assert first == Outcome(True, before.revision + 1, (entry,))
    assert world.etcd.transact(making) == Outcome(False, first.revision, (entry,))
    assert world.etcd.get(key).entry == entry


def test_a_key_that_is_made_again_has_a_new_create_revision(world: World) -> None:
    key = world.prefix + "a"
    first = put(world.etcd, key, b"1").revision
    second = put(world.etcd, key, b"2").revision
    assert world.etcd.get(key).entry == KeyValue(key, b"2", first, second, 2)
    deleted = world.etcd.transact(Transaction((Compare(key, Field.VERSION, 2),), (Delete(key),)))
    assert deleted.succeeded
    again = put(world.etcd, key, b"3").revision
    assert world.etcd.get(key).entry == KeyValue(key, b"3", again, again, 1)


def test_deleting_what_is_not_there_changes_nothing(world: World) -> None:
    key = world.prefix + "a"
    before = world.etcd.get(key).revision
    deleted = world.etcd.transact(Transaction((absent(key),), (Delete(key),)))
    assert deleted == Outcome(True, before)


@pytest.mark.parametrize("field", Field)
@pytest.mark.parametrize("relation", Relation)
def test_comparisons(world: World, field: Field, relation: Relation) -> None:
    key = world.prefix + "a"
    put(world.etcd, key, b"m")
    put(world.etcd, key, b"m")
    entry = world.etcd.get(key).entry
    assert entry is not None
    stored = getattr(entry, field.value)
    smaller, greater = (b"l", b"n") if field is Field.VALUE else (stored - 1, stored + 1)
    expected = {
        Relation.EQUAL: (False, True, False),
        Relation.NOT_EQUAL: (True, False, True),
        Relation.GREATER: (True, False, False),
        Relation.LESS: (False, False, True),
    }
    held = tuple(
        world.etcd.transact(Transaction((Compare(key, field, operand, relation),), ())).succeeded
        for operand in (smaller, stored, greater)
    )
    assert held == expected[relation]


@pytest.mark.parametrize("relation", Relation)
def test_a_key_that_is_not_there_has_no_value_to_compare(world: World, relation: Relation) -> None:
    compare = Compare(world.prefix + "a", Field.VALUE, b"", relation)
    assert not world.etcd.transact(Transaction((compare,), ())).succeeded


def test_all_comparisons_must_hold(world: World) -> None:
    a, b = world.prefix + "a", world.prefix + "b"
    put(world.etcd, a, b"1")
    outcome = world.etcd.transact(Transaction((absent(a), absent(b)), (Put(b, b"1"),), (Get(a), Get(b))))
    assert not outcome.succeeded
    assert [found and found.value for found in outcome.found] == [b"1", None]


def test_a_range_has_the_keys_of_a_prefix_in_order_and_nothing_else(world: World) -> None:
    names = [f"nodes/{name}" for name in ("b", "ä", "a", "a/b", "ÿ")]
    for name in (*names, "node", "nodet", "nodes0"):
        put(world.etcd, world.prefix + name, name.encode())
    listing = world.etcd.range(world.prefix + "nodes/")
    assert [entry.key for entry in listing.entries] == sorted(world.prefix + name for name in names)
    assert listing.revision == world.etcd.get("any").revision
    assert world.etcd.range(world.prefix + "none/").entries == ()


def test_a_range_of_many_pages_is_of_one_revision(world: World) -> None:
    keys = [f"{world.prefix}{number:04}" for number in range(2 * PAGE_KEYS + 1)]
    for begin in range(0, len(keys), OPERATIONS_MAX):
        some = keys[begin : begin + OPERATIONS_MAX]
        world.etcd.transact(Transaction((absent(some[0]),), tuple(Put(key, b"") for key in some)))
    assert [entry.key for entry in world.etcd.range(world.prefix).entries] == keys


def test_a_watch_tells_every_change_once_and_in_order(world: World) -> None:
    a, b = world.prefix + "a", world.prefix + "b"
    begin = world.etcd.range(world.prefix).revision + 1
    watch = world.etcd.watch(world.prefix, begin, is_prefix=True)
    only_b = world.etcd.watch(b, begin)
    assert watch.next(0) == ()
    first = put(world.etcd, a, b"1").revision
    second = world.etcd.transact(Transaction((absent(b),), (Put(b, b"2"), Delete(a)))).revision
    third = put(world.etcd, b, b"").revision
    of_b = [
        Event(b, second, KeyValue(b, b"2", second, second, 1)),
        Event(b, third, KeyValue(b, b"", second, third, 2)),
    ]
    events = taken(watch, 4)
    assert [event.mod_revision for event in events] == [first, second, second, third]
    assert events[0] == Event(a, first, KeyValue(a, b"1", first, first, 1))
    assert set(events[1:3]) == {of_b[0], Event(a, second, None)}
    assert taken(only_b, 2) == of_b
    past = world.etcd.watch(world.prefix, second, is_prefix=True)
    assert [event.mod_revision for event in taken(past, 3)] == [second, second, third]
    for each in (watch, only_b, past):
        each.close()
        assert each.next(0) == ()


def test_a_watch_of_what_is_compacted_says_so(world: World) -> None:
    key = world.prefix + "a"
    first = put(world.etcd, key, b"1").revision
    last = max(put(world.etcd, key, b"2").revision for _ in range(3))
    world.compact(last)
    watch = world.etcd.watch(key, first)
    with pytest.raises(Compacted, match=rf"changes from revision {first} on are compacted up to {last};"):
        watch.next(10)
    watch.close()
    listing = world.etcd.range(world.prefix)
    assert [entry.mod_revision for entry in listing.entries] == [last]
    watch = world.etcd.watch(key, listing.revision + 1)
    after = put(world.etcd, key, b"3").revision
    assert [event.mod_revision for event in taken(watch, 1)] == [after]


def test_keys_go_with_their_lease(world: World) -> None:
    a, b = world.prefix + "a", world.prefix + "b"
    lease = world.etcd.grant(1)
    assert lease.ttl_s >= 1
    written = put(world.etcd, a, b"1", lease.id).revision
    put(world.etcd, b, b"1", lease.id)
    assert world.etcd.keep_alive(lease.id) == lease.ttl_s
    assert world.etcd.time_to_live(lease.id) is not None
    entry = world.etcd.get(a).entry
    assert entry is not None
    assert entry.lease == lease.id
    watch = world.etcd.watch(world.prefix, written + 2, is_prefix=True)
    world.let_expire(lease.id)
    assert {(event.key, event.entry) for event in taken(watch, 2)} == {(a, None), (b, None)}
    assert world.etcd.range(world.prefix).entries == ()
    with pytest.raises(LeaseLost, match="take a new one"):
        world.etcd.keep_alive(lease.id)
    with pytest.raises(LeaseLost, match="requested lease not found"):
        put(world.etcd, a, b"1", lease.id)


def test_a_key_that_is_written_without_its_lease_stays(world: World) -> None:
    key = world.prefix + "a"
    lease = world.etcd.grant(10)
    put(world.etcd, key, b"1", lease.id)
    put(world.etcd, key, b"2")
    world.etcd.revoke(lease.id)
    entry = world.etcd.get(key).entry
    assert entry is not None
    assert entry.lease == 0


def test_a_lease_that_is_given_back_is_gone_at_once(world: World) -> None:
    lease = world.etcd.grant(60)
    put(world.etcd, world.prefix + "a", b"1", lease.id)
    world.etcd.revoke(lease.id)
    world.etcd.revoke(lease.id)
    assert world.etcd.time_to_live(lease.id) is None
    assert world.etcd.get(world.prefix + "a").entry is None


@pytest.mark.parametrize("size", [1_600_000, 2_500_000, 17_000_000])
def test_a_request_that_is_too_large_is_refused(world: World, size: int) -> None:
    with pytest.raises(RequestTooLarge, match=r"1\.5 MiB"):
        put(world.etcd, world.prefix + "a", bytes(size))
    assert put(world.etcd, world.prefix + "a", bytes(1_500_000)).revision
    assert world.etcd.get(world.prefix + "a").entry is not None


def test_transactions_that_etcd_does_not_take(world: World) -> None:
    key = world.prefix + "a"
    many = tuple(Put(f"{key}{number}", b"") for number in range(OPERATIONS_MAX + 1))
    for wrong, message in (
        (many, "too many operations"),
        ((Put(key, b""), Put(key, b"")), "duplicate key"),
        ((Put(key, b""), Delete(key)), "duplicate key"),
    ):
        with pytest.raises(EtcdError, match=message):
            world.etcd.transact(Transaction((absent(key),), wrong))
    assert world.etcd.range(world.prefix).entries == ()


def test_a_swap(world: World) -> None:
    key, leader = world.prefix + "ptr", world.prefix + "leader"
    epoch = put(world.etcd, leader, b"me").revision
    guards = (Compare(leader, Field.CREATE_REVISION, epoch),)
    first = carry_out(world.etcd, Swap(key, b"1", 0, guards), timeout_s=5)
    assert isinstance(first, Swapped)
    stale = carry_out(world.etcd, Swap(key, b"x", 0, guards), timeout_s=5)
    assert stale == NotSwapped(first.entry)
    expected = first.entry.mod_revision
    second = carry_out(world.etcd, Swap(key, b"2", expected, guards), timeout_s=5)
    assert isinstance(second, Swapped)
    world.etcd.transact(Transaction((Compare(leader, Field.VALUE, b"me"),), (Delete(leader),)))
    put(world.etcd, leader, b"another")
    zombie = Swap(key, b"3", second.entry.mod_revision, guards)
    assert carry_out(world.etcd, zombie, timeout_s=5) == NotSwapped(second.entry)


def elected(etcd: Etcd, key: str, name: bytes, lease: int, timeout_s: float = 5) -> Leadership:
    won = campaign(etcd, key, name, lease, timeout_s=timeout_s)
    assert won is not None
    return won


def leader_of(observer: Observer) -> tuple[bytes, int] | None:
    found = observer.leader
    return None if found is None else (found.value, found.create_revision)


def test_one_leads_at_a_time_and_the_epoch_rises(world: World) -> None:
    key = world.prefix + "leader"
    ann, bob = world.etcd.grant(60).id, world.etcd.grant(60).id
    observer = Observer(world.etcd, key)
    assert leader_of(observer) is None
    first = elected(world.etcd, key, b"ann", ann)
    assert elected(world.etcd, key, b"ann", ann) == first  # asking again finds it
    assert observer.wait(5)
    assert leader_of(observer) == (b"ann", first.epoch)
    assert campaign(world.etcd, key, b"bob", bob, timeout_s=0) is None
    assert resign(world.etcd, first)
    second = elected(world.etcd, key, b"bob", bob)
    assert second.epoch > first.epoch
    assert not resign(world.etcd, first)  # a late one does no harm
    assert not world.etcd.transact(Transaction((first.guard,), ())).succeeded
    assert world.etcd.transact(Transaction((second.guard,), ())).succeeded
    world.etcd.revoke(bob)
    assert observer.wait(5)
    assert leader_of(observer) is None
    assert not observer.wait(0)
    observer.close()
    with pytest.raises(LeaseLost):
        campaign(world.etcd, key, b"bob", bob, timeout_s=1)


def random_transaction(draw: random.Random, prefix: str, offset: int, revision: int) -> Transaction:
    """Some transaction on few keys, so that its comparisons often hold; `offset` is added to revisions."""
    keys = [prefix + name for name in "abc"]
    compares = []
    for _ in range(draw.randint(1, 2)):
        field = draw.choice(list(Field))
        revision_like = field in {Field.CREATE_REVISION, Field.MOD_REVISION}
        number = (
            draw.choice([0, offset + draw.randint(max(1, revision - 6), revision)])
            if revision_like
            else draw.randint(0, 3)
        )
        operand = draw.choice([b"", b"1", b"2"]) if field is Field.VALUE else number
        compares.append(Compare(draw.choice(keys), field, operand, draw.choice(list(Relation))))
    branches: list[tuple[Operation, ...]] = []
    for _ in range(2):
        written = draw.sample(keys, draw.randint(0, 2))
        branch: list[Operation] = []
        for key in written:
            kept = draw.random() < 0.5
            branch.append(Put(key, draw.choice([b"", b"1", b"2"])) if kept else Delete(key))
        branch += [Get(key) for key in draw.sample(keys, 2)]
        draw.shuffle(branch)
        branches.append(tuple(branch))
    return Transaction(tuple(compares), *branches)


def shifted(entry: KeyValue | None, offset: int) -> KeyValue | None:
    if entry is None:
        return None
    return KeyValue(
        entry.key, entry.value, entry.create_revision - offset, entry.mod_revision - offset, entry.version
    )


def test_the_twin_answers_random_transactions_as_etcd_does(
    one_member: EtcdServers, prefix: str, connect: Callable[..., EtcdClient], seed: int
) -> None:
    print(f"seed {seed}")
    twin, etcd = MemoryEtcd(), connect(*one_member.endpoints)
    offset = etcd.get("any").revision - twin.get("any").revision
    own, real = random.Random(seed), random.Random(seed)
    for number in range(400):
        revision = twin.get("any").revision
        mine = twin.transact(random_transaction(own, prefix, 0, revision))
        theirs = etcd.transact(random_transaction(real, prefix, offset, revision))
        found = tuple(shifted(entry, offset) for entry in theirs.found)
        assert mine == Outcome(theirs.succeeded, theirs.revision - offset, found), number
    twin_watch = twin.watch(prefix, 2, is_prefix=True)
    watch = etcd.watch(prefix, 2 + offset, is_prefix=True)
    expected = list(twin_watch.next(0))
    told = [
        Event(event.key, event.mod_revision - offset, shifted(event.entry, offset))
        for event in taken(watch, len(expected))
    ]
    assert told == expected
