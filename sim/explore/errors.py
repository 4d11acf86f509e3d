"""What can go wrong in an exploration that a user can do something about."""

__all__ = ["ExploreError"]


class ExploreError(ValueError):
    """An exploration that cannot be done; the message says what is wrong and what to do."""
