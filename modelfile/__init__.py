"""The Modelfile language: text, syntax tree, recipe, plan, build; and templates."""
