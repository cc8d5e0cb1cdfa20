"""What can go wrong with exported networks."""

from __future__ import annotations


class ExportError(RuntimeError):
    """A network cannot be exported, or an export cannot be read; the message says why and what to do."""
