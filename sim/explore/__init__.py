"""Exploration: the accelerators of a budget that no other one beats."""
