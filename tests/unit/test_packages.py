"""Who owns the import names."""

from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

OURS = ["sinsok", "schemas", "gateways", "streams"]


@pytest.mark.parametrize("package", OURS)
def test_nobody_else_owns_our_names(package: str) -> None:
    """They are generic: another distribution with a package of that name would be mixed with ours."""
    # An editable installation lists no packages of its own.
    assert set(packages_distributions().get(package, ["sinsok"])) == {"sinsok"}


def test_our_packages_stand_side_by_side() -> None:
    folders = {Path(spec.origin or "").parents[1] if (spec := find_spec(name)) else None for name in OURS}
    assert len(folders) == 1
    assert None not in folders
