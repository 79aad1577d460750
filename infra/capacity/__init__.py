"""What fits on what: the memory a model needs, the features a GPU has. Pure; prices and stock live elsewhere."""
