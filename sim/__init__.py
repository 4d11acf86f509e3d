"""Simulation: the cocotb bench, the simulator runner, the latency model and reports."""
