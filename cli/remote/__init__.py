"""`corral remote`: verbs on registries themselves, past the local store."""

SUMMARY = "Look at what registries have, copy it between them, and remove it there."
