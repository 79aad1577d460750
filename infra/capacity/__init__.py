"""What fits on which machine: the memory that a model needs, and the features of a GPU.

Pure. Prices and stock are in infra/clouds.
"""
