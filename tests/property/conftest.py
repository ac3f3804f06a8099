"""For all properties: how many examples, and that they are the same ones in every run but a soak."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SOAK = bool(os.environ.get("CORRAL_SOAK"))
CHECKED = settings(
    derandomize=not SOAK,
    database=None,
    deadline=None,
    max_examples=5_000 if SOAK else 300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
