"""What a person reads when a Modelfile is wrong: a file of tests/golden has a Modelfile and, below a ruler, the report.

A report that changed on purpose is copied from the failing assertion.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from corral.modelfile.builder import build
from corral.modelfile.diagnostics import ModelfileError
from corral.modelfile.parser import read
from corral.modelfile.source import Source
from corral.store.local import Store
from corral.store.name import Name

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("modelfile-*.txt"))
RULER = "-" * 40 + "\n"


def test_there_are_golden_files() -> None:
    assert len(GOLDEN) >= 20


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_error_reports(path: Path, store: Store, tmp_path: Path) -> None:
    text, ruler, expected = path.read_bytes().decode().partition(RULER)
    assert ruler, "a golden file has a ruler"
    with pytest.raises(ModelfileError) as caught:
        build(Name.parse("x"), read(Source(text)), store, folder=tmp_path)
    report = caught.value.render().replace(str(tmp_path), "FOLDER")
    assert report + "\n" == expected
    first = expected.splitlines()[0].replace("FOLDER", str(tmp_path))
    assert str(caught.value) == first
    assert not store.root.exists()
