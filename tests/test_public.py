"""The one door: what `import streame` shows is what it says that it shows."""

from types import ModuleType

import streame


def test_every_public_name_is_listed() -> None:
    later = {"Cluster", "Tls"}  # imported when they are asked for
    names = vars(streame) | {name: getattr(streame, name) for name in later}
    public = {
        name
        for name, value in names.items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    listed = names.get("__all__", [])
    assert set(listed) == public
    assert len(listed) == len(public)
