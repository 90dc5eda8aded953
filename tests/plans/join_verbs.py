"""Random joins: of streams, by an interval, as of a time, with a table."""

import polars as pl

from tests.plans.drawing import Draw
from tests.plans.model import Source, Step
from tests.plans.sources import add_source

HOWS = ("inner", "inner", "left", "right", "full", "semi", "anti")


def other_side(draw: Draw, node: int) -> int:
    """What a part is joined with: itself, another one, or a source of its own."""
    if draw.chance(0.15):
        return node
    if draw.chance(0.2):
        return draw.random.randrange(len(draw.parts))
    sources = sorted(draw.known[node].sources)
    return add_source(draw, like=draw.one(sources))


def common_keys(draw: Draw, left: int, right: int, *, least: int) -> list[str]:
    """Key columns that both sides have in the same dtype."""
    one, other = draw.schema(left), draw.schema(right)
    names = [name for name in one if other.get(name) == one[name] and not one[name].is_nested()]
    names = [name for name in names if name in {"k", "l", "s", "b"}]
    return draw.some(names, 2, least) if names else []


def suffix(left: pl.Schema, right: pl.Schema) -> str:
    """A suffix that makes no two columns one."""
    taken = {*left, *right}
    return next(
        f"_{number}" for number in range(20) if not any(f"{name}_{number}" in taken for name in taken)
    )


def join(draw: Draw, node: int) -> Step | None:
    """Every row with all rows of its key."""
    right = other_side(draw, node)
    keys = common_keys(draw, node, right, least=1)
    if not keys or draw.rows(node).height * draw.rows(right).height > 1_000_000:
        return None
    how = draw.one(HOWS)
    end = f"suffix={suffix(draw.schema(node), draw.schema(right))!r}"
    nulls = ", nulls_equal=True" if draw.chance(0.3) else ""
    return Step(
        "join",
        (node, right),
        f"$a.join($b, on={keys!r}, how={how!r}, {end}{nulls}, ttl=None, $name)",
        f"joined($a, $b, {keys!r}, {keys!r}, how={how!r}, {end}{nulls})",
    )


def both_timed(draw: Draw, left: int, right: int) -> tuple[str, str] | None:
    """The event times of both sides, if these can be compared."""
    one, other = draw.time(left), draw.time(right)
    if one is None or other is None or draw.is_changes(left) or draw.is_changes(right):
        return None
    return (one, other) if draw.schema(left)[one] == draw.schema(right)[other] else None


def join_at(draw: Draw, node: int) -> Step | None:
    """Rows of equal keys and equal times, as of two windowed streams."""
    right = other_side(draw, node)
    times = both_timed(draw, node, right)
    if times is None or draw.rows(node).height * draw.rows(right).height > 1_000_000:
        return None
    keys = common_keys(draw, node, right, least=0)
    one, other = [times[0], *keys], [times[1], *keys]
    how = draw.one(HOWS)
    end = f"suffix={suffix(draw.schema(node), draw.schema(right))!r}"
    nulls = ", nulls_equal=True" if draw.chance(0.2) else ""
    return Step(
        "join_at",
        (node, right),
        f"$a.join($b, left_on={one!r}, right_on={other!r}, how={how!r}, {end}{nulls}, $name)",
        f"joined($a, $b, {one!r}, {other!r}, how={how!r}, {end}{nulls})",
    )


def join_interval(draw: Draw, node: int) -> Step | None:
    """Rows whose times differ by so much."""
    right = other_side(draw, node)
    times = both_timed(draw, node, right)
    if times is None or draw.rows(node).height * draw.rows(right).height > 1_000_000:
        return None
    keys = common_keys(draw, node, right, least=0)
    low, high = sorted((draw.random.randint(-5, 5), draw.random.randint(-5, 5)))
    lower, upper = (
        ("-" if count < 0 else "") + draw.duration(node, abs(count), times[0]) for count in (low, high)
    )
    how = draw.one(HOWS)
    end = f"suffix={suffix(draw.schema(node), draw.schema(right))!r}"
    nulls = ", nulls_equal=True" if draw.chance(0.2) else ""
    on = f", on={keys!r}" if keys else ""
    bounds = f"lower={lower!r}, upper={upper!r}"
    return Step(
        "join_interval",
        (node, right),
        f"$a.join_interval($b{on}, how={how!r}, {bounds}, {end}{nulls}, $name)",
        f"interval($a, $b, {times!r}, {keys!r}, {how!r}, {lower!r}, {upper!r}, {end}{nulls})",
    )


def join_asof(draw: Draw, node: int) -> Step | None:
    """Each row with the row that is nearest in time."""
    right = other_side(draw, node)
    times = both_timed(draw, node, right)
    if times is None or not draw.in_order(right):
        return None
    keys = common_keys(draw, node, right, least=0)
    words = {"strategy": draw.one(("backward", "forward", "nearest"))}
    if draw.chance(0.4):
        words["tolerance"] = draw.duration(node, draw.random.randint(0, 5), times[0])
    given = ", ".join(f"{name}={word!r}" for name, word in words.items())
    end = f"suffix={suffix(draw.schema(node), draw.schema(right))!r}"
    by = f", by={keys!r}" if keys else ""
    exact = ", allow_exact_matches=False" if draw.chance(0.2) else ""
    on = f"left_on={times[0]!r}, right_on={times[1]!r}"
    return Step(
        "join_asof",
        (node, right),
        f"$a.join_asof($b, {on}{by}, {given}{exact}, {end}, $name)",
        f"asof($a, $b, {times!r}, {on}{by}, {given}{exact}, {end})",
    )


def join_table(draw: Draw, node: int) -> Step | None:
    """Each row with the table's latest row of its key; the table is read whole first."""
    right = other_side(draw, node)
    keys = common_keys(draw, node, right, least=1)
    if not keys or draw.is_changes(node):
        return None
    rows = draw.rows(right).select(keys)
    if draw.known[right].order != "arrival" and rows.n_unique() < rows.height:
        return None  # which row of a key is the latest is not told by the order that Polars is given
    how = draw.one(("inner", "left"))
    end = f"suffix={suffix(draw.schema(node), draw.schema(right))!r}"
    nulls = ", nulls_equal=True" if draw.chance(0.3) else ""
    return Step(
        "join_table",
        (node, right),
        f"$a.join($b.as_table({keys!r}), on={keys!r}, how={how!r}, {end}{nulls}, $name)",
        f"joined($a, latest($b, {keys!r}), {keys!r}, {keys!r}, how={how!r}, {end}{nulls}, maintain_order='left')",
    )


def concat_sources(draw: Draw, node: int) -> Step | None:
    """The rows of two sources."""
    if not isinstance(draw.parts[node], Source):
        return None
    other = add_source(draw, like=node, schema=True)
    if draw.schema(other) != draw.schema(node):
        return None
    return Step("concat_sources", (node, other), "st.concat([$a, $b])", "pl.concat([$a, $b])")


VERBS = {join: 4, join_at: 2, join_interval: 4, join_asof: 4, join_table: 2, concat_sources: 2}
