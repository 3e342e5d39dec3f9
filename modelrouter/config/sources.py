"""Where models.toml and the policies are: the search order, and what came with modelrouter.

Nothing here opens a file or knows what is written in one.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from platformdirs import user_config_path

from modelrouter.diagnose import suggestion
from modelrouter.errors import ConfigError

CONFIG_VARIABLE = "MODELROUTER_CONFIG"


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """The models.toml to read, and what led to it."""

    path: Path
    origin: Literal["--config", "$MODELROUTER_CONFIG", "current folder", "user folder", "shipped"]


def find_config(explicit: Path | None = None) -> ConfigSource:
    """Return the models.toml to use: the first of --config, $MODELROUTER_CONFIG, the one in the
    current folder, in the user's config folder, and the one that came with modelrouter.

    Raises ConfigError where one of the first two is named but not there: to go on with another
    file would be to ignore what was asked for.
    """
    if explicit is not None:
        return _named(ConfigSource(explicit.absolute(), "--config"))
    if path := os.environ.get(CONFIG_VARIABLE):
        return _named(ConfigSource(resolve(path, Path.cwd()), "$MODELROUTER_CONFIG"))
    here = ConfigSource(Path.cwd() / "models.toml", "current folder")
    user = ConfigSource(user_config_path("modelrouter") / "models.toml", "user folder")
    shipped = ConfigSource(_shipped_folder() / "models.toml", "shipped")
    return next((source for source in (here, user) if source.path.is_file()), shipped)


def find_policies(source: ConfigSource) -> dict[str, Path]:
    """Return the policies by name: those shipped, and those beside models.toml in their place."""
    folders = (_shipped_folder() / "policies", source.path.parent / "policies")
    found = {file.stem: file for folder in folders for file in folder.glob("*.toml")}
    return dict(sorted(found.items()))


def find_policy(source: ConfigSource, name: str) -> Path:
    """Return the file of the policy `name`; ConfigError with the names there are for another."""
    found = find_policies(source)
    if name not in found:
        raise ConfigError(no_policy(name, found))
    return found[name]


def no_policy(name: str, found: dict[str, Path]) -> str:
    """Return the message for a policy that is not among those `found`."""
    return f'no policy "{name}"{suggestion(name, found)}; there are {", ".join(found)}'


def resolve(path: str, folder: Path) -> Path:
    """Return `path` as seen from `folder`, with ~ as the user's home; ConfigError for nobody's."""
    try:
        return folder / Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f'"{path}": there is no such home folder') from error


def _named(source: ConfigSource) -> ConfigSource:
    if not source.path.is_file():
        raise ConfigError(
            f"{source.origin}: there is no file {source.path}",
            hint="without it, models.toml is looked for here, then in the user's config folder",
        )
    return source


def _shipped_folder() -> Path:
    """Return the folder of models.toml and policies/: in the wheel, else the source checkout's."""
    package = Path(__file__).parent.parent
    in_wheel = package / "shipped"
    return in_wheel if in_wheel.is_dir() else package.parent
