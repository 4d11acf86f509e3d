"""The hardware: configuration, Amaranth components and Verilog emission. Never imports torch."""
