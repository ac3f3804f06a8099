"""The engine itself: llama.cpp through llama-cpp-python's low-level bindings. Nothing outside touches llama_cpp."""
