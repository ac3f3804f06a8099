"""Worker processes: llama.cpp with continuous batching, and the frames spoken with them."""
