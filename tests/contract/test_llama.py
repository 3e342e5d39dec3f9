"""What only llama.cpp can break: bits, control tokens, samplers, interrupts from other threads.

The promises it shares with every Backend are `test_backend.py`'s.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from last_pass import Logits, drawn, logits

from modelrouter import synthetic
from modelrouter.engine.backend import Row
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.protocol import Load
from modelrouter.errors import LoadFailed
from modelrouter.generation import Piece
from modelrouter.gguf import read_facts
from modelrouter.memory.kv import StoredType, StoredTypes
from modelrouter.synthetic.vocabulary import CONTROL_TOKENS, TURN_END, token_id
from modelrouter.types import Sampling

LoadBackend: TypeAlias = Callable[..., LlamaBackend]

USUAL = StoredTypes("q8_0", "f16")

WILD = Sampling(temperature=5, top_k=0, top_p=1, min_p=0)
"""Every token has its chance."""

ADD_BOS_KEY = b"tokenizer.ggml.add_bos_token\x07\0\0\0"  # 7 is the type of a flag, the flag follows


@pytest.fixture
def load() -> Iterator[LoadBackend]:
    """Return a loader of model files with settings of Load; what it loads is closed at the end."""
    made: list[LlamaBackend] = []

    def load_backend(
        path: Path,
        *,
        whole: bool = True,
        context_tokens: int = 512,
        slots: int = 3,
        batch_rows: int = 256,
        stored: StoredTypes = USUAL,
        on_progress: Callable[[float], None] = lambda _: None,
    ) -> LlamaBackend:
        message = Load(str(path), whole, context_tokens, slots, batch_rows, stored, 1)
        made.append(LlamaBackend(message, on_progress))
        return made[-1]

    yield load_backend
    for backend in made:
        backend.close()


@pytest.fixture
def tiny(load: LoadBackend, tiny_gguf: Path) -> LlamaBackend:
    """The tiny model with three slots."""
    return load(tiny_gguf)


def prefilled(backend: LlamaBackend, tokens: Sequence[int], chunk: int, seq: int = 0) -> Logits:
    """Feed the tokens to an empty sequence in chunks; return the logits of the last."""
    backend.keep(seq, 0)
    for start in range(0, len(tokens), chunk):
        part = tokens[start : start + chunk]
        last = len(part) - 1
        assert backend.decode([Row(seq, start + n, t, n == last) for n, t in enumerate(part)])
    return logits(backend, last)


# ---- loading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_progress_goes_from_nothing_to_all(
    load: LoadBackend, tiny_gguf: Path, *, whole: bool
) -> None:
    """A load tells how far it is, in order, and that it is done."""
    fractions: list[float] = []
    load(tiny_gguf, whole=whole, on_progress=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_file_that_is_no_model(load: LoadBackend, tmp_path: Path) -> None:
    """llama.cpp says no, and so do we, with the file's name."""
    path = tmp_path / "notes.gguf"
    path.write_text("buy milk")
    with pytest.raises(LoadFailed) as caught:
        load(path)
    assert caught.value.message == f"llama.cpp could not load {path}"


def test_a_context_that_cannot_be(load: LoadBackend, tmp_path: Path) -> None:
    """Where llama.cpp refuses the context its numbers are told: heads too narrow for this type."""
    path = tmp_path / "narrow.gguf"
    synthetic.write(path, synthetic.Geometry(1, 64, 64, 4, 4, 512), "F32")
    with pytest.raises(LoadFailed) as caught:
        load(path, stored=StoredTypes("q8_0", "q8_0"))
    assert caught.value.message == (
        "llama.cpp could not make room for 3 x 512 tokens of q8_0 keys and q8_0 values"
    )


def test_the_context_is_at_least_what_was_asked(load: LoadBackend, tiny_gguf: Path) -> None:
    """llama.cpp rounds up to 256 tokens, and the backend says what it really has."""
    assert load(tiny_gguf, context_tokens=300).context_tokens == 512


@pytest.mark.parametrize("stored_type", ["q8_0", "q4_0"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_quantized_context(
    load: LoadBackend, tiny_gguf: Path, stored_type: StoredType, *, whole: bool
) -> None:
    """A smaller KV cache loads, decodes, and changes the logits only a little."""
    tokens = list(range(60, 100))
    exact = prefilled(load(tiny_gguf), tokens, 256)
    stored = StoredTypes(stored_type, stored_type)
    rough = prefilled(load(tiny_gguf, stored=stored, whole=whole), tokens, 256)
    assert 0 < float(abs(rough - exact).max()) < float(exact.std())


# ---- the same bits ------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 16, 33])
def test_chunks_do_not_change_a_bit(tiny: LlamaBackend, chunk: int) -> None:
    """A prompt prefilled in parts gives the very logits of the prompt in one pass."""
    tokens = list(range(60, 100))
    whole = prefilled(tiny, tokens, len(tokens))
    assert np.array_equal(prefilled(tiny, tokens, chunk), whole)


@pytest.mark.parametrize("seq", [1, 2])
def test_the_slot_does_not_change_a_bit(tiny: LlamaBackend, seq: int) -> None:
    """A sequence is not better off in another slot."""
    tokens = list(range(60, 100))
    assert np.array_equal(prefilled(tiny, tokens, 16, seq), prefilled(tiny, tokens, 16))


@pytest.mark.parametrize("others", [1, 13, 40])
def test_company_does_not_change_a_bit(tiny: LlamaBackend, others: int) -> None:
    """Two other sequences in the same pass leave the logits as they are."""
    tokens = list(range(60, 100))
    alone = prefilled(tiny, tokens, 256)
    tiny.keep(0, 0)
    rows = [Row(0, n, token, n == len(tokens) - 1) for n, token in enumerate(tokens)]
    company = [Row(seq, n, 200 + n, False) for seq in (1, 2) for n in range(others)]
    assert tiny.decode(company[:others] + rows + company[others:])
    assert np.array_equal(logits(tiny, others + len(tokens) - 1), alone)


def test_a_cut_sequence_does_not_differ_in_a_bit(tiny: LlamaBackend) -> None:
    """What `keep` left is what was there before the rest came."""
    tokens = list(range(60, 100))
    fresh = prefilled(tiny, tokens, 8, seq=1)
    prefilled(tiny, tokens[:16] + [200] * 20, 36)
    assert tiny.keep(0, 16) == 16
    assert tiny.decode([Row(0, n, tokens[n], n == 39) for n in range(16, 40)])
    assert np.array_equal(logits(tiny, 23), fresh)


# ---- interrupts ---------------------------------------------------------------------------------


def test_an_interrupt_from_another_thread_ends_the_pass(load: LoadBackend, tiny_gguf: Path) -> None:
    """A pass that takes its time ends for a cancel that comes meanwhile, and can be done again.

    The thread runs when the pass lets go of the interpreter; should it be early, the pass ends at
    its first step, which is the same promise.
    """
    backend = load(tiny_gguf, context_tokens=4096, slots=1, batch_rows=4096)
    rows = [Row(0, n, 60 + n % 40, n == 4095) for n in range(4096)]
    begun = threading.Event()

    def interrupt() -> None:
        begun.wait()
        backend.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    begun.set()
    finished = backend.decode(rows)
    thread.join()
    assert not finished
    assert backend.keep(0, 0) == 0
    assert backend.decode(rows)


# ---- tokens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", CONTROL_TOKENS)
def test_a_control_token_is_one_only_in_a_special_piece(tiny: LlamaBackend, text: str) -> None:
    """A user who spells it gets its letters; a template that writes it gets the token."""
    plain = tiny.tokenize([Piece(f"a {text} b", special=False)])
    assert token_id(text) not in plain
    assert b"".join(map(tiny.bytes_of, plain)).decode() == f"a {text} b"
    special = tiny.tokenize([Piece(f"a {text} b", special=True)])
    assert special.count(token_id(text)) == 1
    assert tiny.bytes_of(token_id(text)) == b""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text() | st.sampled_from([*CONTROL_TOKENS, "<|im_", "end|>"])).map("".join)
)
def test_no_plain_text_is_a_control_token(tiny: LlamaBackend, texts: str) -> None:
    """However it is spelled or cut."""
    controls = {token_id(text) for text in CONTROL_TOKENS}
    assert not controls & set(tiny.tokenize([Piece(texts, special=False)]))


def test_the_end_of_a_turn_ends_the_answer(tiny: LlamaBackend) -> None:
    """The control tokens that end a generation do, letters do not."""
    assert tiny.is_end(token_id(TURN_END))
    assert not tiny.is_end(65)


def test_the_beginning_of_text_comes_once(
    load: LoadBackend, tiny_gguf: Path, tmp_path: Path
) -> None:
    """A model that wants the token gets it, and not a second one where the template wrote it."""
    content = tiny_gguf.read_bytes()
    assert content.count(ADD_BOS_KEY + b"\0") == 1
    path = tmp_path / "wants_bos.gguf"
    path.write_bytes(content.replace(ADD_BOS_KEY + b"\0", ADD_BOS_KEY + b"\1"))
    backend = load(path)
    begin = token_id("<|endoftext|>")
    assert backend.tokenize([Piece("a", special=False)]) == [begin, 97]
    assert backend.tokenize([Piece("<|endoftext|>a", special=True)]) == [begin, 97]
    spelled = backend.tokenize([Piece("<|endoftext|>a", special=False)])
    assert spelled[0] == begin
    assert spelled.count(begin) == 1
    assert len(spelled) > 3
    assert load(tiny_gguf).tokenize([Piece("a", special=False)]) == [97]


@pytest.mark.parametrize("text", ["\n" * 999, " " * 999, "=" * 999, "-" * 999, "\u6f22" * 99])
def test_no_token_is_longer_than_the_header_says(
    load: LoadBackend, starter_gguf: Path, text: str
) -> None:
    """So a prompt that is too long by its bytes has too many tokens: runs have the longest."""
    tokens = load(starter_gguf, context_tokens=256, slots=1).tokenize([Piece(text, special=False)])
    longest_bytes = read_facts(starter_gguf).longest_token_bytes
    assert len(text.encode()) <= len(tokens) * longest_bytes


def test_the_starter_model_speaks(load: LoadBackend, starter_gguf: Path) -> None:
    """Real weights, read by the same code, say what the world says."""
    backend = load(starter_gguf, context_tokens=256, slots=1)
    tokens = backend.tokenize([Piece("The capital of France is", special=False)])
    prefilled(backend, tokens, 256)
    row = len(tokens) - 1
    likeliest = backend.sampler(Sampling(temperature=0)).sample(row)
    assert backend.bytes_of(likeliest) == b" Paris"


# ---- samplers -----------------------------------------------------------------------------------


@pytest.fixture
def thinking(tiny: LlamaBackend) -> LlamaBackend:
    """The tiny model after one pass of one row, with logits to draw from."""
    assert tiny.decode([Row(0, 0, 65, wants_logits=True)])
    return tiny


def test_temperature_0_takes_the_likeliest(thinking: LlamaBackend) -> None:
    """Every time, whatever else is set."""
    likeliest = int(logits(thinking, 0).argmax())
    sampling = Sampling(temperature=0, top_k=40, top_p=0.5, min_p=0.2, seed=3)
    assert drawn(thinking, sampling) == [likeliest] * 20


def test_top_k_1_takes_the_likeliest(thinking: LlamaBackend) -> None:
    """One candidate leaves nothing to chance."""
    likeliest = int(logits(thinking, 0).argmax())
    assert drawn(thinking, Sampling(temperature=5, top_k=1)) == [likeliest] * 20


@pytest.mark.parametrize("cut", [{"top_p": 1e-6}, {"min_p": 1.0}])
def test_the_other_cuts_leave_the_likeliest_too(
    thinking: LlamaBackend, cut: dict[str, float]
) -> None:
    """top_p and min_p at their strictest leave one candidate."""
    likeliest = int(logits(thinking, 0).argmax())
    assert drawn(thinking, replace(WILD, **cut)) == [likeliest] * 20  # type: ignore[arg-type]


def test_top_k_leaves_so_many(thinking: LlamaBackend) -> None:
    """Draws come from the k likeliest, and from more than one of them."""
    best = set(np.argsort(logits(thinking, 0))[-5:].tolist())
    found = set(drawn(thinking, replace(WILD, top_k=5, seed=1), 200))
    assert len(found) > 1
    assert found <= best


def test_a_seed_draws_the_same_again(thinking: LlamaBackend) -> None:
    """The same seed gives the same tokens, another seed others, none a fresh one each time."""
    first, again, other = (drawn(thinking, replace(WILD, seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert drawn(thinking, WILD) != drawn(thinking, WILD)


@pytest.mark.parametrize(
    "penalty",
    [
        Sampling(temperature=0, repeat_penalty=10),
        Sampling(temperature=0, frequency_penalty=2),
        Sampling(temperature=0, presence_penalty=2),
    ],
    ids=["repeat", "frequency", "presence"],
)
def test_penalties_change_the_draw(thinking: LlamaBackend, penalty: Sampling) -> None:
    """A token that was drawn becomes less likely, for this sampler and no other."""
    likeliest = int(logits(thinking, 0).argmax())
    tokens = drawn(thinking, penalty, 3)
    assert tokens[0] == likeliest
    assert len(set(tokens)) > 1
    assert drawn(thinking, penalty, 3) == tokens


def test_a_sampler_is_closed_twice(thinking: LlamaBackend) -> None:
    """The second time there is nothing to free."""
    sampler = thinking.sampler(Sampling())
    sampler.close()
    sampler.close()


def test_the_narrowest_of_all_quantizations(load: LoadBackend, tmp_path: Path) -> None:
    """A model whose weights llama.cpp rearranges answers as it does unchanged, but for rounding."""
    path = tmp_path / "small.gguf"
    synthetic.write(path, synthetic.SMALL, "Q4_0")
    tokens = list(range(60, 100))
    quick = prefilled(load(path, whole=True), tokens, 16)
    plain = prefilled(load(path, whole=False), tokens, 16)
    assert np.allclose(quick, plain, atol=1e-3)
