"""The HTTP application and its dialects."""
