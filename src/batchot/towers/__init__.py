"""Networks from samples to embeddings, and what is kept of them."""
