"""The parts of the driver program. Standard library only, Python 3.8: see nvidia_driver.py.

`facts` reads the host, `verdict` decides from facts alone, `packages` and `kernels` use apt, `main` runs them in order.
"""
