"""A provision with nothing to change, and with one file to mend: ours against pyinfra and Ansible."""
