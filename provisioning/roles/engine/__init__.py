"""vLLM and Ollama as systemd units: release, models, adapters, limits. Clients reach them through the gateway only."""
