"""The parts of the driver program. Standard library only, Python 3.8: see nvidia_driver.py.

`facts` looks, `verdict` decides without looking, `packages` and `kernels` know apt, `main` puts them in order.
"""
