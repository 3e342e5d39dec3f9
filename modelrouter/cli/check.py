"""`modelrouter check`: all that is wrong in models.toml, the policies and the model files."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelrouter.cli import options
from modelrouter.config import check as check_files
from modelrouter.config import find_config, load
from modelrouter.errors import BadModelFile, ConfigError, RequestError

if TYPE_CHECKING:
    from modelrouter.registry import Catalogue


def check(*, config: options.Config = None) -> None:
    """Check models.toml, the policies, the models' files and chat templates, and the memory."""
    from modelrouter.app import find_memory
    from modelrouter.classifier import Classifier
    from modelrouter.memory.budget import notes
    from modelrouter.registry import catalogue

    source = find_config(config)
    fields = Classifier.load().fields
    if problems := check_files(source, fields=fields):
        raise ConfigError("\n".join(map(str, problems)), problems=problems)
    settings = load(source, fields=fields)
    machine, budget = find_memory(settings)
    found = catalogue(settings)
    said = [f"models.{name}: {error.message}" for name, error in found.unusable.items()]
    if said := [*said, *_broken_templates(found)]:
        raise ConfigError("\n".join(said))
    sys.stdout.write(f"{source.path}: all is well; models: {', '.join(found.specs)}\n")
    sys.stdout.writelines(f"note: {note}\n" for note in notes(machine, budget))


def _broken_templates(found: "Catalogue") -> Iterator[str]:
    """Render a greeting with each model's chat template; a refusal is the template's right."""
    from modelrouter.engine.prompt import render_chat
    from modelrouter.types import Message

    for name, spec in found.specs.items():
        try:
            if spec.chat is not None:
                render_chat(spec.chat, [Message("user", "Hi")])
        except BadModelFile as error:
            yield f"models.{name}: {error.message}"
        except RequestError:
            pass
