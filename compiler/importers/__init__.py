"""Importers: a user's trained network as a :class:`smartdeal.golden.graph.FloatGraph`.

:mod:`.onnx` reads ONNX files, :mod:`.exported` archives of ``torch.export`` and modules. Both
translate operators into calls of :class:`.builder.GraphBuilder`, which fuses them into layers.
"""
