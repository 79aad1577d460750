"""Ports that several packages need."""

SSH_PORT = 22
"""The SSH port of hosts; an inventory can name another one."""

ENGINE_PORTS = (8000, 11434)
"""Where vLLM and Ollama listen on loopback; a stack file can name another port."""
