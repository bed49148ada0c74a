"""Somebody else's models as victims."""
