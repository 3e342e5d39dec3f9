"""The registry: what a person wrote in models.toml against what is true of the files; the
catalogue.

It reads headers, never weights, and starts nothing. A model whose file is missing or bad stays in
the catalogue with the reason: the policy passes it over, and whoever asks for it by name is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from modelrouter.config import NO_FIM, ModelEntry, Settings
from modelrouter.errors import BadModelFile, ConfigError, LoadFailed
from modelrouter.gguf import GgufFacts, read_facts
from modelrouter.gguf.fim import BY_NAME
from modelrouter.gguf.fim_format import FimFormat, detected, format_of
from modelrouter.memory.footprint import Footprint, footprint
from modelrouter.memory.kv import BLOCK_VALUES, StoredTypes, stored_types
from modelrouter.memory.plan import Plan, Shape, Share, Wish
from modelrouter.types import Drafts, KvType, Sampling

DEFAULT_CONTEXT_TOKENS = 4096
"""A training context of 128k tokens would cost more memory than most models' weights."""

LEAST_CONTEXT_TOKENS = 256
"""llama.cpp rounds a shorter context up to this."""

LOGIT_ROWS: Mapping[Drafts, int] = {"off": 1, "prompt-lookup": 16}
"""Rows of a sequence that want logits in one pass: the next token's, and the drafted ones'."""

WINDOW_LAYERS = 2
"""One that is read from, and the next, which is read ahead."""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """What a model's header says of how it wants to be spoken to."""

    template: str
    begin_text: str
    end_text: str
    control_tokens: tuple[str, ...]


@dataclass(frozen=True)
class ModelSpec:
    """One usable model: its file's facts and its settings, all defaults filled in.

    `context_tokens` is for each slot. `threads` None leaves the number to the engine. `fim` None:
    it was not trained to fill in.
    """

    name: str
    facts: GgufFacts
    is_resident: bool
    context_tokens: int
    slots: int
    batch_rows: int
    kv_type: KvType
    threads: int | None
    sampling: Sampling
    logit_rows: int = 1
    """Rows of a sequence that may want logits in one pass; more than 1 where drafts are on."""
    fim: FimFormat | None = None
    is_narrowed: bool = False
    """True where the budget did not allow the most that models.toml would have."""
    told: Footprint | None = None
    """llama.cpp's own account of these settings, where it was asked."""

    @cached_property
    def footprint(self) -> Footprint:
        """What its worker needs: as llama.cpp told, or else as the formula counts."""
        return self.told or footprint(
            self.facts,
            whole=self.is_resident,
            context_tokens=self.context_tokens,
            slots=self.slots,
            batch_rows=self.batch_rows,
            kv_type=self.kv_type,
            logit_rows=self.logit_rows,
        )

    @property
    def stored(self) -> StoredTypes:
        """What keys and what values of its contexts are stored as."""
        return stored_types(self.kv_type, self.facts.key_length)

    @property
    def window_bytes(self) -> int:
        """Room in the page cache for the layers that a mapped model is reading and about to read.

        Were all memory but its buffers pinned, the rest of its weights would have nowhere to go.
        """
        layer_bytes = -(-self.footprint.mapped_bytes // max(1, len(self.facts.kv_heads_by_layer)))
        return min(self.footprint.mapped_bytes, WINDOW_LAYERS * layer_bytes)

    @property
    def charged_bytes(self) -> int:
        """What the budget is charged while it is loaded, its pin not counted."""
        return self.footprint.total_bytes + self.window_bytes

    @property
    def chat(self) -> ChatFormat | None:
        """How to speak to it; None for a model that only continues text."""
        facts = self.facts
        if facts.chat_template is None:
            return None
        return ChatFormat(
            facts.chat_template, facts.bos_text or "", facts.eos_text or "", facts.control_tokens
        )

    @property
    def identity(self) -> str:
        """Name the file and the settings that change its arithmetic: equal means equal answers."""
        stored = self.stored
        settings = f"{stored.keys}-{stored.values}/{self.context_tokens}/{self.is_resident}"
        return f"{self.facts.fingerprint}/{settings}"


@dataclass(frozen=True)
class Catalogue:
    """All models of models.toml: the usable ones' specs, and why the others are not.

    `ladders` has all the specs that a model could run with, the widest first; `specs` is what it
    does run with: the widest, until the budget is known (`allotted`).
    """

    ladders: Mapping[str, tuple[ModelSpec, ...]]
    specs: Mapping[str, ModelSpec]
    unusable: Mapping[str, ConfigError]
    roles: Mapping[str, tuple[str, ...]]

    @cached_property
    def reasons(self) -> Mapping[str, str | None]:
        """Each model's name with None, or the reason why it cannot be used."""
        reasons: dict[str, str | None] = dict.fromkeys(self.specs)
        return reasons | {name: error.message for name, error in self.unusable.items()}

    @cached_property
    def wishes(self) -> tuple[Wish, ...]:
        """What the usable models would like of the memory, in the order of models.toml."""
        return tuple(_wish(name, ladder) for name, ladder in self.ladders.items())

    def of_ladders(self, ladders: Mapping[str, tuple[ModelSpec, ...]]) -> "Catalogue":
        """Return the catalogue with these ladders in place of its own, and the widest specs."""
        widest = {name: ladder[0] for name, ladder in ladders.items()}
        return replace(
            self, ladders=MappingProxyType(dict(ladders)), specs=MappingProxyType(widest)
        )

    def allotted(self, plan: Plan) -> "Catalogue":
        """Return the catalogue with the specs that the plan has room for.

        A model that never fits keeps its narrowest, so that whoever asks for it hears the least
        that it would need.
        """
        specs = {
            share.wish.model: _chosen(self.ladders[share.wish.model], share)
            for share in plan.shares
        }
        return replace(self, specs=MappingProxyType(specs))


def catalogue(settings: Settings) -> Catalogue:
    """Read every model's header and return the catalogue."""
    ladders: dict[str, tuple[ModelSpec, ...]] = {}
    unusable: dict[str, ConfigError] = {}
    for name, entry in settings.models_file.models.items():
        try:
            ladders[name] = _ladder(name, entry, read_facts(settings.model_path(name)))
        except ConfigError as error:
            unusable[name] = error
    roles = settings.models_file.roles
    widest = {name: ladder[0] for name, ladder in ladders.items()}
    return Catalogue(
        MappingProxyType(ladders), MappingProxyType(widest), MappingProxyType(unusable), roles
    )


def _ladder(name: str, entry: ModelEntry, facts: GgufFacts) -> tuple[ModelSpec, ...]:
    """Return the specs that models.toml allows: fewer slots first, then a shorter context.

    A prompt that fits is worth more than two that are answered at the same time.
    """
    _refuse_mute(facts)
    _refuse_small_batch(name, entry)
    least_context, most_context = _context_tokens(name, entry, facts)
    least_slots, most_slots = entry.slots
    steps = [(most_context, slots) for slots in _halved(most_slots, least_slots)]
    steps += [(tokens, least_slots) for tokens in _halved(most_context, least_context)[1:]]
    return tuple(
        _spec(name, entry, facts, context_tokens=tokens, slots=slots, is_narrowed=number > 0)
        for number, (tokens, slots) in enumerate(steps)
    )


def _halved(most: int, least: int) -> list[int]:
    """Return `most`, its half, the half of that, and so on to `least`."""
    values = [most]
    while values[-1] > least:
        values.append(max(least, values[-1] // 2))
    return values


def narrower(spec: ModelSpec) -> tuple[ModelSpec, ...]:
    """Return less than models.toml allows: one slot, with ever shorter contexts down to 256 tokens.

    The formula counts what they need.
    """
    contexts = _halved(spec.context_tokens, LEAST_CONTEXT_TOKENS)[0 if spec.slots > 1 else 1 :]
    return tuple(replace(spec, context_tokens=tokens, slots=1, told=None) for tokens in contexts)


def _spec(
    name: str,
    entry: ModelEntry,
    facts: GgufFacts,
    *,
    context_tokens: int,
    slots: int,
    is_narrowed: bool,
) -> ModelSpec:
    is_resident = entry.residency == "resident"
    return ModelSpec(
        name=name,
        facts=facts,
        is_resident=is_resident,
        context_tokens=context_tokens,
        slots=slots,
        batch_rows=entry.batch,
        kv_type=entry.kv_type or _usual_kv_type(facts, is_resident=is_resident),
        threads=entry.threads,
        sampling=entry.sampling.to_sampling(),
        logit_rows=LOGIT_ROWS[_drafts(name, entry, facts)],
        fim=_fim(name, entry, facts),
        is_narrowed=is_narrowed,
    )


def _usual_kv_type(facts: GgufFacts, *, is_resident: bool) -> KvType:
    """Return q8_0 for a mapped model whose heads all have keys and values of their own: a 65B's
    context takes 1.9 MiB a token at f16, 1.3 at q8_0, each of them taken from what it could pin.
    """
    fits = facts.key_length % BLOCK_VALUES == 0 and facts.value_length % BLOCK_VALUES == 0
    is_wide = facts.heads > 1 and facts.kv_heads == facts.heads
    return "q8_0" if is_wide and fits and not is_resident else "f16"


def _drafts(name: str, entry: ModelEntry, facts: GgufFacts) -> Drafts:
    """Return how the model's answers are drafted: by default where rows ride free."""
    can_go_back = facts.sliding_window is None
    if entry.drafts == "prompt-lookup" and not can_go_back:
        raise ConfigError(
            f"models.{name}.drafts is 'prompt-lookup'; the model has a sliding window and cannot "
            "take back drafts that were wrong",
            hint="leave drafts out",
        )
    by_residency: Drafts = "prompt-lookup" if entry.residency == "mapped" else "off"
    return entry.drafts or (by_residency if can_go_back else "off")


def _fim(name: str, entry: ModelEntry, facts: GgufFacts) -> FimFormat | None:
    """Return how to show the model a hole: as models.toml says, else as the file does."""
    if entry.fim == NO_FIM:
        return None
    if entry.fim is not None:
        family = BY_NAME[entry.fim]
    elif entry.fim_markers is not None:
        family = entry.fim_markers.to_family()
    else:
        return detected(facts.fim, facts.special_ids, facts.name or "")
    found = format_of(family, facts.special_ids)
    if found is None:
        raise ConfigError(
            f"models.{name}.fim: the vocabulary of {facts.path} has not all of the tokens "
            f"{', '.join(family.parts)}",
            hint='name the family that it was trained as, "none", or leave it out',
        )
    return found


def _wish(name: str, ladder: tuple[ModelSpec, ...]) -> Wish:
    shapes = tuple(Shape(spec.context_tokens, spec.slots, spec.charged_bytes) for spec in ladder)
    return Wish(name, ladder[0].is_resident, shapes, ladder[0].footprint.mapped_bytes)


def _chosen(ladder: tuple[ModelSpec, ...], share: Share) -> ModelSpec:
    if share.shape is None:
        return ladder[-1]
    return ladder[share.wish.shapes.index(share.shape)]


def refuse_changed_file(spec: ModelSpec) -> None:
    """Raise LoadFailed where the model's file is not the one that the spec was made of.

    Its footprint, its context and the answers in the cache belong to the file that was read.
    """
    try:
        is_same = read_facts(spec.facts.path).fingerprint == spec.facts.fingerprint
    except BadModelFile as error:
        raise LoadFailed(f"{spec.name}: {error.message}", hint=error.hint) from error
    if not is_same:
        raise LoadFailed(
            f"{spec.name}: {spec.facts.path} has changed since its header was read",
            hint="start modelrouter again, so that it reads the new file",
        )


def _refuse_mute(facts: GgufFacts) -> None:
    if facts.kind != "model" or facts.tokenizer_model is None:
        what = "has no vocabulary" if facts.kind == "model" else f"is a {facts.kind}"
        raise BadModelFile(
            f"{facts.path}: {what}: it cannot answer prompts",
            hint="name the GGUF file of the language model itself",
        )


def _refuse_small_batch(name: str, entry: ModelEntry) -> None:
    slots = entry.slots[1]
    if entry.batch < slots:
        raise ConfigError(
            f"models.{name}.batch is {entry.batch} tokens; with {slots} slots, a step "
            f"decodes up to {slots}",
            hint="raise batch, or lower slots",
        )


def _context_tokens(name: str, entry: ModelEntry, facts: GgufFacts) -> tuple[int, int]:
    """Return the least and the most tokens of context for each slot."""
    if entry.context is None:
        tokens = min(facts.context_length, DEFAULT_CONTEXT_TOKENS)
        return tokens, tokens
    if entry.context[1] > facts.context_length:
        raise ConfigError(
            f"models.{name}.context is {entry.context[1]:,} tokens; "
            f"the model was trained with {facts.context_length:,}",
            hint="lower it, or leave it out",
        )
    return entry.context
