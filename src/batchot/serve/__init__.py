"""The search as a web page and an HTTP API."""
