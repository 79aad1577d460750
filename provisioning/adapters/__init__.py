"""Releases of LoRA adapters on running hosts: add, promote, roll back, retire, list. File formats are in serving/."""
