"""Serve: what the registry server does, without HTTP: the store's models and what clients gave it, as OCI repositories."""
