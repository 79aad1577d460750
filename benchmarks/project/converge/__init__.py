"""A provision with nothing to change, and one with a changed file to restore: ours against pyinfra and Ansible."""
