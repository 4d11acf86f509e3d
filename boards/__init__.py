"""Boards: synthesis, bitstreams, the hardware around the accelerator, and the host's side."""
