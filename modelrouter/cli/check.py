"""`modelrouter check`: all that is wrong in models.toml, the policies and the model files."""

import sys

from modelrouter.cli import options
from modelrouter.config import check as check_files
from modelrouter.config import find_config, load
from modelrouter.errors import ConfigError


def check(*, config: options.Config = None) -> None:
    """Check models.toml, the policies, and the models' files."""
    from modelrouter.classifier import Classifier
    from modelrouter.registry import catalogue

    source = find_config(config)
    fields = Classifier.load().fields
    if problems := check_files(source, fields=fields):
        raise ConfigError("\n".join(map(str, problems)), problems=problems)
    found = catalogue(load(source, fields=fields))
    if found.unusable:
        said = (f"models.{name}: {error.message}" for name, error in found.unusable.items())
        raise ConfigError("\n".join(said))
    sys.stdout.write(f"{source.path}: all is well; models: {', '.join(found.specs)}\n")
