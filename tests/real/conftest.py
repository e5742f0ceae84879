"""Tests on real images and weights; they lie beside the project, in ../shared, and are never copied into it."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared"


@pytest.hookimpl(tryfirst=True)  # before -m chooses by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    absent = pytest.mark.skip(reason=f"no real data: {SHARED} is absent")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)
            if not SHARED.is_dir():
                item.add_marker(absent)


@pytest.fixture(scope="session")
def shared() -> Path:
    return SHARED
