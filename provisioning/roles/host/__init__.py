"""What every host gets, whatever it serves: users, firewall, sshd, the NVIDIA driver. No engine and no gateway."""
