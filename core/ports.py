"""Ports that more than one step of the way knows."""

SSH_PORT = 22
"""Where hosts let people log in, unless an inventory says otherwise."""

ENGINE_PORTS = (8000, 11434)
"""Where vLLM and Ollama listen on loopback unless a stack file says otherwise."""
