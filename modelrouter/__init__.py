"""A router and orchestrator for local language models on CPU boxes."""
