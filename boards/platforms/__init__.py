"""Boards that amaranth-boards does not know."""
