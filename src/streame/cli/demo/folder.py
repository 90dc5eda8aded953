"""Where the demo writes: a folder that it may clear because it has made it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from streame.cli.failure import UsageError

MARK = ".made-by-streame-demo"


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """The output of the demo.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def flights(self) -> Path:
        """The folder of the departures."""
        return self.path / "flights"

    @property
    def hours(self) -> Path:
        """The folder of the delays of every hour."""
        return self.path / "hours"

    @property
    def routes(self) -> Path:
        """The folder of the changes of the worst routes."""
        return self.path / "routes"

    @property
    def errors(self) -> Path:
        """The folder of the dead letters."""
        return self.path / "errors"

    def parts(self) -> dict[str, Path]:
        """All of them by name."""
        folders = (self.flights, self.hours, self.routes, self.errors)
        return {folder.name: folder for folder in folders}

    def clear(self) -> None:
        """Make the folder, or remove what an earlier demo wrote there.

        Raises:
            UsageError: when it holds files that no demo has written.
        """
        mark = self.path / MARK
        if self.path.exists() and not mark.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(
                f"{self.path} is there already and was not made by the demo; name another folder with --out"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        mark.touch()
        for folder in self.parts().values():
            if folder.exists():
                shutil.rmtree(folder)
