"""Who may import whom."""

from collections.abc import Iterable, Iterator, Mapping

from tests.tidy.module import Finding, Module, imports

ROWS = (
    ("__main__",),
    ("cli", "web"),
    ("testing",),
    ("streame",),
    ("api", "cluster"),
    ("plan",),
    ("runtime",),
    ("state", "io"),
    ("storage",),
    ("core",),
    ("errors",),
)
"""Top to bottom. A module imports from its own layer and from rows below; layers of one row are strangers."""

DEPTH = {layer: depth for depth, row in enumerate(ROWS) for layer in row}


def layer_of(name: str) -> str:
    """The layer of a dotted name within the package: `streame.core.time` is in `core`, `streame.scan` in `streame`."""
    parts = [*name.split("."), "streame"]
    return parts[1] if parts[1] in DEPTH else "streame"


def wrong_layer(module: Module) -> Iterator[Finding]:
    """A file in no layer, and imports that point up or sideways."""
    if not module.in_src:
        return
    if module.name != "streame" and layer_of(module.name) == "streame":
        yield Finding(module.path, 1, "is in no layer; the layers are " + ", ".join(DEPTH))
        return
    here = layer_of(module.name)
    for line, name in imports(module):
        there = layer_of(name)
        if name.split(".")[0] == "streame" and there != here and DEPTH[there] <= DEPTH[here]:
            yield Finding(module.path, line, f"{here} may not import {there}")


def plan_meets_runtime(module: Module) -> Iterator[Finding]:
    """Within `plan` only `lower` knows the runtime."""
    if layer_of(module.name) == "plan" and not module.name.startswith("streame.plan.lower"):
        for line, name in imports(module):
            if name.startswith("streame.runtime"):
                yield Finding(module.path, line, "within plan only lower may import runtime")


def unreached(modules: Iterable[Module], doors: Iterable[str]) -> Iterator[Finding]:
    """Files of the package that cannot be reached by imports from the `doors` (dotted names)."""
    by_name = {module.name: module for module in modules if module.in_src}
    reached: set[str] = set()
    waiting = [name for door in doors for name in _enters(door, by_name)]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [found for _, used in imports(by_name[name]) for found in _enters(used, by_name)]
    for name in sorted(by_name.keys() - reached):
        yield Finding(by_name[name].path, 1, "nobody imports this file")


def _enters(name: str, by_name: Mapping[str, Module]) -> list[str]:
    """The modules that run when `name` is imported: itself and the packages around it."""
    parts = name.split(".")
    prefixes = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return [prefix for prefix in prefixes if prefix in by_name]
