"""Structured output: from JSON Schema to a grammar that keeps sampling to it. Pure.

What is generated satisfies the schema; not all that does is generated: properties come in the schema's order, numbers have
few digits, blanks are few. A keyword that cannot be kept to is an error that names it and its place; annotations and unknown
keywords are ignored, as JSON Schema says (2020-12, core 6.5).
"""

from __future__ import annotations

from .answers import call_grammar, json_grammar, schema_grammar
from .budget import SchemaError
from .thoughts import after_thinking

__all__ = ["SchemaError", "after_thinking", "call_grammar", "json_grammar", "schema_grammar"]
