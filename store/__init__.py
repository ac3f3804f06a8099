"""Values, blobs, tags, collection and the GGUF reader. Imports nothing of Corral's other rooms."""
