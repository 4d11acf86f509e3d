"""The golden model: number formats, weight forms, the integer network and the interpreter.

Importing this package does not import torch: the hardware shares the number formats.
"""
