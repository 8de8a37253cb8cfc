"""The jobs: one thin module each, ``python -m jobs.NAME CONFIG.yaml``."""
