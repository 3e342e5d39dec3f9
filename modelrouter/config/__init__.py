"""What a person wrote: models.toml and policies/*.toml, found, read, checked, frozen.

It knows nothing of the machine or of what is inside a model's file.
"""

from modelrouter.config.cases import Case, CasesFile
from modelrouter.config.quantities import Percent
from modelrouter.config.rules import Choice, Otherwise, PolicyFile, Rule
from modelrouter.config.settings import Settings, check, load
from modelrouter.config.shapes import (
    NO_FIM,
    Budget,
    Cache,
    ModelEntry,
    ModelsFile,
    SamplingTable,
    Server,
)
from modelrouter.config.sources import ConfigSource, find_config, find_policies, find_policy
from modelrouter.config.table import RESERVED_NAME

__all__ = [
    "NO_FIM",
    "RESERVED_NAME",
    "Budget",
    "Cache",
    "Case",
    "CasesFile",
    "Choice",
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
