"""What a person wrote: models.toml and policies/*.toml, found, read, checked, frozen.

It knows nothing of the machine or of what is inside a model's file.
"""

from modelrouter.config.settings import Settings, check, load
from modelrouter.config.shapes import (
    RESERVED_NAME,
    Budget,
    Cache,
    ModelEntry,
    ModelsFile,
    Otherwise,
    Percent,
    PolicyFile,
    Rule,
    SamplingTable,
    Server,
)
from modelrouter.config.sources import ConfigSource, find_config, find_policies, find_policy

__all__ = [
    "RESERVED_NAME",
    "Budget",
    "Cache",
    "ConfigSource",
    "ModelEntry",
    "ModelsFile",
    "Otherwise",
    "Percent",
    "PolicyFile",
    "Rule",
    "SamplingTable",
    "Server",
    "Settings",
    "check",
    "find_config",
    "find_policies",
    "find_policy",
    "load",
]
