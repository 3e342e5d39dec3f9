"""The shapes of models.toml and policies/*.toml: which keys there are and what each may say.

It reads no file and knows no place on disk; one value is looked at without the others' files.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, model_validator

from modelrouter.types import SAMPLING_RANGES, KvType, Sampling, Task, WhenFull

DEFAULT_POLICY = "balanced"

RESERVED_NAME = "auto"
"""What a request says in place of a model to have the policy choose; never the name of one."""

RESERVED_RULES = ("model", "role", "otherwise")
"""What a decision calls its rule when no rule of the file made it."""

UNIT_BYTES: Mapping[str, int] = {
    "B": 1,
    **{f"{prefix}B": 10 ** (3 * power) for power, prefix in enumerate("KMGT", 1)},
    **{f"{prefix}iB": 2 ** (10 * power) for power, prefix in enumerate("KMGT", 1)},
}
"""The units of a size after IEC 80000-13: GB is 1,000,000,000 bytes, GiB is 1,073,741,824."""

MOST_TOKENS = 2**31 - 1
"""llama.cpp counts tokens in 32 bits."""

PACKAGE_FILE = re.compile(r"package:(?P<package>[A-Za-z]\w*)/(?P<file>.+)")


@dataclass(frozen=True, slots=True)
class Percent:
    """A share of the machine's memory, as `ram = "75%"` writes it."""

    value: float

    def of(self, total_bytes: int) -> int:
        """Return this share of `total_bytes`, in whole bytes."""
        return int(total_bytes * self.value / 100)


def _size(value: object) -> int:
    written = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)", str(value))
    if not isinstance(value, str) or not written or written[2] not in UNIT_BYTES:
        raise ValueError('expected a size like "48GiB"')
    return int(Decimal(written[1]) * UNIT_BYTES[written[2]])


def _positive_size(value: object) -> int:
    if (size_bytes := _size(value)) == 0:
        raise ValueError("must be more than nothing")
    return size_bytes


def _ram(value: object) -> int | Percent:
    if not isinstance(value, str) or not value.endswith("%"):
        return _positive_size(value)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?%", value) or not 0 < float(value[:-1]) <= 100:
        raise ValueError('expected a share above "0%" and up to "100%"')
    return Percent(float(value[:-1]))


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:/-]+", value):
        raise ValueError("a name is made of letters, digits and . _ : / -")
    if value == RESERVED_NAME:
        raise ValueError("this name is taken: it asks the policy to choose")
    return value


def _rule_name(value: str) -> str:
    if value in RESERVED_RULES:
        raise ValueError("this name is taken: traces say it where no rule decided")
    return value


def _path(value: str) -> str:
    if value.startswith("package:") and not PACKAGE_FILE.fullmatch(value):
        raise ValueError('expected "package:NAME/FILE"')
    return value


def _each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("the list is empty; it needs at least one name")
    if twice := [value for value in dict.fromkeys(values) if values.count(value) > 1]:
        raise ValueError(f"named more than once: {', '.join(twice)}")
    return values


Size = Annotated[int, PlainValidator(_size)]
PositiveSize = Annotated[int, PlainValidator(_positive_size)]
Ram = Annotated[int | Percent, PlainValidator(_ram)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, AfterValidator(_name)]
# strict pydantic takes no list for a tuple; what is in the list stays strict
Names = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_each_once)]


class Table(BaseModel):
    """What all tables share: frozen, no unknown keys, no value coerced into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Budget(Table):
    """`[budget]`: the memory that models may use. `ram` None means what is found at start."""

    ram: Ram | None = None
    reserve_bytes: Size = Field(default=2**30, alias="reserve")


class Server(Table):
    """`[server]`: where to listen, and how many requests may wait for one model."""

    host: Text = "127.0.0.1"
    port: int = Field(default=8012, ge=0, le=65535)
    max_waiting: int = Field(default=64, ge=1)


class Cache(Table):
    """`[cache]`: answers kept on disk. `directory` None means the user's cache folder."""

    enabled: bool = True
    directory: Text | None = None
    size_bytes: PositiveSize = Field(default=2**30, alias="size")


def _sampling(name: str) -> Any:
    low, high = SAMPLING_RANGES[name]
    return Field(getattr(Sampling(), name), ge=low, le=high)


class SamplingTable(Table):
    """`[models.NAME.sampling]`: what requests of this model start from; types.Sampling's keys."""

    temperature: float = _sampling("temperature")
    top_k: int = _sampling("top_k")
    top_p: float = _sampling("top_p")
    min_p: float = _sampling("min_p")
    repeat_penalty: float = _sampling("repeat_penalty")
    frequency_penalty: float = _sampling("frequency_penalty")
    presence_penalty: float = _sampling("presence_penalty")
    seed: int | None = _sampling("seed")

    def to_sampling(self) -> Sampling:
        """Return the same as the value that requests carry."""
        return Sampling(**self.model_dump())


class ModelEntry(Table):
    """`[models.NAME]`: where a model's file is and how it runs.

    `context` counts tokens for each slot; None is the model's own training context, which the
    registry knows. `batch` counts tokens a step. `threads` None leaves the number to the engine.
    """

    path: Annotated[Text, AfterValidator(_path)]
    residency: Literal["resident", "mapped"] = "mapped"
    context: int | None = Field(default=None, ge=256, le=MOST_TOKENS)
    slots: int = Field(default=1, ge=1, le=64)
    kv_type: KvType = "f16"
    threads: int | None = Field(default=None, ge=1, le=1024)
    batch: int = Field(default=512, ge=32, le=MOST_TOKENS)
    sampling: SamplingTable = SamplingTable()


class ModelsFile(Table):
    """models.toml as a whole. A role lists models in order of preference."""

    version: Literal[1]
    policy: Text = DEFAULT_POLICY
    budget: Budget = Budget()
    server: Server = Server()
    cache: Cache = Cache()
    models: Annotated[Mapping[Name, ModelEntry], Field(min_length=1)]
    roles: Mapping[Name, Names] = {}


class Rule(Table):
    """`[[rules]]`: conditions that must all hold, and the roles or models to use then, in order."""

    name: Annotated[Text, AfterValidator(_rule_name)]
    task: Task | None = None
    field: Text | None = None
    confidence: float | None = Field(default=None, ge=0, le=1)
    prompt_chars_over: int | None = Field(default=None, ge=0)
    prompt_chars_under: int | None = Field(default=None, ge=1)
    use: Names
    when_full: WhenFull = "wait"

    @model_validator(mode="after")
    def _can_hold(self) -> Self:
        if self.confidence is not None and self.field is None:
            raise ValueError('"confidence" needs a "field" to be confident of')
        if not self.model_dump(exclude={"name", "use", "when_full"}, exclude_none=True):
            raise ValueError("no condition; what always holds belongs in [otherwise]")
        over, under = self.prompt_chars_over, self.prompt_chars_under
        if over is not None and under is not None and under - over < 2:
            raise ValueError(f"never holds: no length is over {over} and under {under}")
        return self

    def includes(self, other: "Rule") -> bool:
        """True where this rule holds for every request that `other` holds for."""
        return (
            self.task in (None, other.task)
            and self.field in (None, other.field)
            and (self.confidence or 0) <= (other.confidence or 0)
            and (self.prompt_chars_over or 0) <= (other.prompt_chars_over or 0)
            and (self.prompt_chars_under or math.inf) >= (other.prompt_chars_under or math.inf)
        )


class Otherwise(Table):
    """`[otherwise]`: what to use where no rule holds."""

    use: Names
    when_full: WhenFull


class PolicyFile(Table):
    """A file of policies/: what it is for in prose, its rules in order, and the rest."""

    description: Text
    rules: Annotated[tuple[Rule, ...], Field(strict=False)] = ()
    otherwise: Otherwise
