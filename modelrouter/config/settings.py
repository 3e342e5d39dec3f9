"""From files to `Settings`: models.toml and its policy, read, and checked alone and together.

It knows what a person wrote, not whether a model's file exists or what it holds.
"""

from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from modelrouter.config.rules import PolicyFile
from modelrouter.config.shapes import DEFAULT_POLICY, PACKAGE_FILE, ModelsFile
from modelrouter.config.sources import ConfigSource, find_policies, find_policy, no_policy, resolve
from modelrouter.diagnose import Document, read, suggestion, validate
from modelrouter.errors import BadModelFile, ConfigError, Problem
from modelrouter.types import UNSURE


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a person wrote, checked as a whole."""

    source: ConfigSource
    models_file: ModelsFile
    policy_name: str
    policy_path: Path
    policy_file: PolicyFile

    def model_path(self, model: str) -> Path:
        """Return where the file of `model` should be; nothing looks whether it is there.

        Raises BadModelFile for a file inside a Python package that is not installed.
        """
        path = self.models_file.models[model].path
        inside = PACKAGE_FILE.fullmatch(path)
        if inside is None:
            return resolve(path, self.source.path.parent)
        package = find_spec(inside["package"])
        if package is None or not package.submodule_search_locations:
            raise BadModelFile(
                f"the Python package {inside['package']} is not installed",
                hint=f"pip install {inside['package'].replace('_', '-')}",
            )
        return Path(package.submodule_search_locations[0], inside["file"])

    def cache_directory(self) -> Path:
        """Return the folder that answers are kept in."""
        if directory := self.models_file.cache.directory:
            return resolve(directory, self.source.path.parent)
        return user_cache_path("modelrouter")

    def api_keys_path(self) -> Path | None:
        """Return where the API keys are written; None where no file is named."""
        file = self.models_file.server.api_keys_file
        return None if file is None else resolve(file, self.source.path.parent)


def load(
    source: ConfigSource, policy: str | None = None, *, fields: Collection[str] = ()
) -> Settings:
    """Return the settings: models.toml with the policy that it names, or `policy` in its place.

    `fields` are those the classifier knows; without them the fields of rules go unchecked. Raises
    one ConfigError with everything that is wrong in both files, in the order of their lines; a
    models.toml that is no TOML at all is reported alone.
    """
    models = read(source.path, _shown(source.path))
    models_file, problems = _check_models(models, source)
    name = str(models.data.get("policy", DEFAULT_POLICY)) if policy is None else policy
    path = find_policies(source).get(name) if policy is None else find_policy(source, name)
    policy_file = None
    if path is not None:
        policy_file, in_policy = _check_policy(path, _names(models), fields)
        problems += in_policy
    if problems or models_file is None or path is None or policy_file is None:
        raise ConfigError("\n".join(map(str, problems)), problems=problems)
    return Settings(source, models_file, name, path, policy_file)


def check(source: ConfigSource, *, fields: Collection[str] = ()) -> list[Problem]:
    """Return what is wrong in models.toml and in every policy that a request could ask for.

    A shipped policy that is not in use may name roles that this models.toml does without.
    """
    try:
        models = read(source.path, _shown(source.path))
    except ConfigError as error:
        return list(error.problems)
    _, problems = _check_models(models, source)
    for name, path in find_policies(source).items():
        is_own = path.parent.parent == source.path.parent
        in_use = name == models.data.get("policy", DEFAULT_POLICY)
        names = _names(models) if is_own or in_use else ()
        problems += _check_policy(path, names, fields)[1]
    return problems


def _check_models(
    models: Document, source: ConfigSource
) -> tuple[ModelsFile | None, list[Problem]]:
    models_file, problems = validate(ModelsFile, models)
    problems += _role_problems(models)
    policies = find_policies(source)
    for place, name in models.each("policy"):
        if isinstance(name, str) and name not in policies:
            problems.append(models.problem(place, no_policy(name, policies)))
    return models_file, _in_order(problems)


def _role_problems(models: Document) -> list[Problem]:
    known = _keys(models, "models")
    clashes = [
        models.problem(place, "a model has this name as well; a request could mean either")
        for place, _ in models.each("roles", ...)
        if place[-1] in known
    ]
    unknown = [
        models.problem(place, f'no model "{name}" in [models]{suggestion(name, known)}')
        for place, name in models.each("roles", ..., ...)
        if isinstance(name, str) and name not in known
    ]
    return clashes + unknown


def _check_policy(
    path: Path, names: Collection[str], fields: Collection[str]
) -> tuple[PolicyFile | None, list[Problem]]:
    """Read a policy and check it, also against the roles and models, and the fields, if known."""
    try:
        policy = read(path, _shown(path))
    except ConfigError as error:
        return None, list(error.problems)
    policy_file, problems = validate(PolicyFile, policy)
    problems += _repeated_rules(policy)
    problems += _unknown_names(policy, names) if names else []
    problems += _unknown_fields(policy, fields) if fields else []
    problems += _unreachable_rules(policy, policy_file) if policy_file is not None else []
    return policy_file, _in_order(problems)


def _repeated_rules(policy: Document) -> list[Problem]:
    names = policy.each("rules", ..., "name")
    return [
        policy.problem(place, f'an earlier rule is named "{name}" as well')
        for n, (place, name) in enumerate(names)
        if name in [earlier for _, earlier in names[:n]]
    ]


def _unknown_names(policy: Document, known: Collection[str]) -> list[Problem]:
    named = policy.each("rules", ..., "use", ...) + policy.each("otherwise", "use", ...)
    of_one_model = ("state", "first_token_within", "answer_within")
    named += [
        (place, place[-1])
        for condition in of_one_model
        for place, _ in policy.each("rules", ..., condition, ...)
    ]
    return [
        policy.problem(place, f'no role or model "{name}" in models.toml{suggestion(name, known)}')
        for place, name in named
        if isinstance(name, str) and name not in known
    ]


def _unknown_fields(policy: Document, known: Collection[str]) -> list[Problem]:
    return [
        policy.problem(place, f'the classifier knows no field "{name}"{suggestion(name, known)}')
        for place, name in policy.each("rules", ..., "field")
        if isinstance(name, str) and name not in (*known, UNSURE)
    ]


def _unreachable_rules(policy: Document, policy_file: PolicyFile) -> list[Problem]:
    rules = policy_file.rules
    problems = []
    for n, rule in enumerate(rules):
        if before := next((r for r in rules[:n] if r.includes(rule)), None):
            message = f'never reached: whenever it holds, "{before.name}" above has held'
            problems.append(policy.problem(("rules", n), message))
    return problems


def _names(models: Document) -> list[str]:
    """Return the roles and models of models.toml, whatever else may be wrong with it."""
    return _keys(models, "roles") + _keys(models, "models")


def _keys(document: Document, table: str) -> list[str]:
    return [key for (_, key), _ in document.each(table, ...) if isinstance(key, str)]


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.line or 0)


def _shown(path: Path) -> str:
    """Return a path as a person in this folder would write it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
