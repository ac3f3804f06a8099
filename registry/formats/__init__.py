"""Formats: how models are packed in registries; one file for each form, read by reading.py and written by writing.py."""
