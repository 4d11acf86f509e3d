"""Published accelerators as cycle and access models, for comparison at equal budgets."""
