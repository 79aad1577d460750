"""The driver program with its package `llm_nvidia`, and the programs that report on GPUs and NVLink.

Which hosts get a driver: provisioning/roles/host/nvidia.py.
"""
