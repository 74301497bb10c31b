"""The YAML documents: what may stand in them, how they are read, and what is unwise about them."""

from gateway.config.advice import warnings
from gateway.config.catalogue import load_catalogue
from gateway.config.loading import Config, files, load, load_migration, load_prompt

__all__ = ["Config", "files", "load", "load_catalogue", "load_migration", "load_prompt", "warnings"]
