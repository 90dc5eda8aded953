"""The seed of the run: printed at the top, given by `STREAME_TEST_SEED`, otherwise new each time."""

import os
import secrets

import hypothesis
import pytest

SEED = int(os.environ.get("STREAME_TEST_SEED") or secrets.randbits(32))


@pytest.hookimpl(tryfirst=True)  # before Hypothesis reads its option
def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis draw from the same seed, so that one number replays a run."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(SEED)
    hypothesis.settings.register_profile("streame", deadline=None, print_blob=True)
    hypothesis.settings.load_profile("streame")


def pytest_report_header() -> str:
    """How to replay this run."""
    return (
        f"replay with: STREAME_TEST_SEED={SEED} PYTHONHASHSEED={os.environ.get('PYTHONHASHSEED', 'random')}"
    )


@pytest.fixture
def seed() -> int:
    """The seed of this run, for tests that draw random data themselves."""
    return SEED
