"""Views of whole collections: settings, cache, processes that render."""
