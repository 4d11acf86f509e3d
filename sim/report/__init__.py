"""Reports: the cost of a network as data, as a page and as a table."""
