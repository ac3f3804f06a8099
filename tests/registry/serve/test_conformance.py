"""The distribution spec 1.1, as conversations that are held with our server and with Debian's docker-registry 2.8."""

from __future__ import annotations

import pytest

from tests.registry.serve.differences import DEBIANS
from tests.registry.serve.listings import LISTINGS
from tests.registry.serve.manifests import MANIFESTS
from tests.registry.serve.names import NAMES
from tests.registry.serve.pulls import PULLS
from tests.registry.serve.references import REFERENCES
from tests.registry.serve.refused_manifests import REFUSED_MANIFESTS
from tests.registry.serve.table import Row, held
from tests.registry.serve.uploads import UPLOADS

ROWS = [*PULLS, *UPLOADS, *MANIFESTS, *REFERENCES, *REFUSED_MANIFESTS, *LISTINGS, *NAMES]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_registry_keeps_to_the_spec(row: Row, host: str, request: pytest.FixtureRequest) -> None:
    is_ours = "ours" in request.node.callspec.params.values()
    assert held(row, host) == ("" if is_ours else DEBIANS.get(row.name, ""))


def test_each_row_is_one_of_a_kind() -> None:
    names = [row.repository for row in ROWS]
    assert len(set(names)) == len(names) >= 150
    assert max(map(len, names)) <= 150


def test_each_difference_is_a_rows() -> None:
    assert DEBIANS.keys() <= {row.name for row in ROWS}
