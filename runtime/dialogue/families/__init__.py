"""How the families of models write thoughts and calls."""
