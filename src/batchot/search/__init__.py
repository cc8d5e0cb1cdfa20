"""Search for shapes: an index of embeddings, and queries by shape, picture and drawing."""
