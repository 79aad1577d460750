"""Compares `provision` with pyinfra and Ansible: with nothing to change, and with one changed file to restore."""
