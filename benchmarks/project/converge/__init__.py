"""Compares `provision` with pyinfra and Ansible: once with nothing to change, and once with a changed file to
restore."""
