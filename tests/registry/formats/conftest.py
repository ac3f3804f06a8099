"""For the formats' tests: other people's programs."""

from tests.cli.conftest import skopeo as skopeo
