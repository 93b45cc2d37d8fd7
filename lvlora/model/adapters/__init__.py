"""Adapters on disk: `search` finds them, `config` reads their JSON, `files` saves and attaches."""
