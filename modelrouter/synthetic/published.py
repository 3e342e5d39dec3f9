"""The published sizes of well-known models, and the one that a name means.

Figures alone, from the models' own configuration files; it writes nothing.
"""

from collections.abc import Mapping

from modelrouter.errors import RequestError, did_you_mean
from modelrouter.synthetic.geometry import SMALL, TINY, Geometry

LLAMA = {
    "llama-7b": Geometry(32, 4096, 11_008, 32, 32, 2048, 32_000),
    "llama-13b": Geometry(40, 5120, 13_824, 40, 40, 2048, 32_000),
    "llama-33b": Geometry(60, 6656, 17_920, 52, 52, 2048, 32_000),
    "llama-65b": Geometry(80, 8192, 22_016, 64, 64, 2048, 32_000),
    "llama-2-7b": Geometry(32, 4096, 11_008, 32, 32, 4096, 32_000),
    "llama-2-13b": Geometry(40, 5120, 13_824, 40, 40, 4096, 32_000),
    "llama-2-70b": Geometry(80, 8192, 28_672, 64, 8, 4096, 32_000),
    "llama-3-8b": Geometry(32, 4096, 14_336, 32, 8, 8192, 128_256),
    "llama-3-70b": Geometry(80, 8192, 28_672, 64, 8, 8192, 128_256),
    "llama-3.1-8b": Geometry(32, 4096, 14_336, 32, 8, 131_072, 128_256),
    "llama-3.1-70b": Geometry(80, 8192, 28_672, 64, 8, 131_072, 128_256),
    "llama-3.1-405b": Geometry(126, 16_384, 53_248, 128, 8, 131_072, 128_256),
    "llama-3.2-1b": Geometry(16, 2048, 8192, 32, 8, 131_072, 128_256, tied_embeddings=True),
    "llama-3.2-3b": Geometry(28, 3072, 8192, 24, 8, 131_072, 128_256, tied_embeddings=True),
    "codellama-34b": Geometry(48, 8192, 22_016, 64, 8, 16_384, 32_000),
}

QWEN_2_5 = {
    "0.5b": Geometry(24, 896, 4864, 14, 2, 32_768, 151_936, tied_embeddings=True),
    "1.5b": Geometry(28, 1536, 8960, 12, 2, 32_768, 151_936, tied_embeddings=True),
    "3b": Geometry(36, 2048, 11_008, 16, 2, 32_768, 151_936, tied_embeddings=True),
    "7b": Geometry(28, 3584, 18_944, 28, 4, 32_768, 152_064),
    "14b": Geometry(48, 5120, 13_824, 40, 8, 32_768, 152_064),
    "32b": Geometry(64, 5120, 27_648, 40, 8, 32_768, 152_064),
    "72b": Geometry(80, 8192, 29_568, 64, 8, 32_768, 152_064),
}
"""Without the few thousand bias weights that the llama architecture has no place for. The coders
are of the same sizes; there is none of 72b.
"""

QWEN_3 = {
    "qwen3-8b": Geometry(36, 4096, 12_288, 32, 8, 40_960, 151_936),
    "qwen3-14b": Geometry(40, 5120, 17_408, 40, 8, 40_960, 151_936),
    "qwen3-32b": Geometry(64, 5120, 25_600, 64, 8, 40_960, 151_936, key_length=128),
    "qwen3-30b-a3b": Geometry(48, 2048, 768, 32, 4, 40_960, 151_936, 128, 8, key_length=128),
    "qwen3-235b-a22b": Geometry(94, 4096, 1536, 64, 4, 40_960, 151_936, 128, 8, key_length=128),
}

MISTRAL = {
    "mistral-7b": Geometry(32, 4096, 14_336, 32, 8, 32_768, 32_000),
    "mistral-small-24b": Geometry(40, 5120, 32_768, 32, 8, 32_768, 131_072, key_length=128),
    "mixtral-8x7b": Geometry(32, 4096, 14_336, 32, 8, 32_768, 32_000, 8, 2),
    "mixtral-8x22b": Geometry(56, 6144, 16_384, 48, 8, 65_536, 32_000, 8, 2),
}

GEMMA = {
    "gemma-2b": Geometry(18, 2048, 16_384, 8, 1, 8192, 256_000, tied_embeddings=True),
    "gemma-7b": Geometry(
        28, 3072, 24_576, 16, 16, 8192, 256_000, tied_embeddings=True, key_length=256
    ),
    "gemma-2-9b": Geometry(
        42, 3584, 14_336, 16, 8, 8192, 256_000, tied_embeddings=True, key_length=256
    ),
    "gemma-2-27b": Geometry(
        46, 4608, 36_864, 32, 16, 8192, 256_000, tied_embeddings=True, key_length=128
    ),
    "gemma-3-4b": Geometry(
        34,
        2560,
        10_240,
        8,
        4,
        131_072,
        262_144,
        tied_embeddings=True,
        sliding_window=1024,
        key_length=256,
    ),
    "gemma-3-12b": Geometry(
        48,
        3840,
        15_360,
        16,
        8,
        131_072,
        262_144,
        tied_embeddings=True,
        sliding_window=1024,
        key_length=256,
    ),
    "gemma-3-27b": Geometry(
        62,
        5376,
        21_504,
        32,
        16,
        131_072,
        262_144,
        tied_embeddings=True,
        sliding_window=1024,
        key_length=128,
    ),
}

GEOMETRIES: Mapping[str, Geometry] = {
    "tiny": TINY,
    "small": SMALL,
    "smollm2-135m": Geometry(30, 576, 1536, 9, 3, 8192, 49_152, tied_embeddings=True),
    **LLAMA,
    **{f"qwen2.5-{size}": geometry for size, geometry in QWEN_2_5.items()},
    **{f"qwen2.5-coder-{size}": QWEN_2_5[size] for size in QWEN_2_5 if size != "72b"},
    **QWEN_3,
    **MISTRAL,
    **GEMMA,
    "deepseek-coder-6.7b": Geometry(32, 4096, 11_008, 32, 32, 16_384, 32_256),
    "deepseek-coder-33b": Geometry(62, 7168, 19_200, 56, 8, 16_384, 32_256),
    "phi-4": Geometry(40, 5120, 17_920, 40, 10, 16_384, 100_352),
}
"""All by name."""


def geometry_named(name: str) -> Geometry:
    """Return the geometry of this name; RequestError names the known ones."""
    if found := GEOMETRIES.get(name):
        return found
    raise RequestError(
        f'there is no geometry "{name}"; there are {", ".join(GEOMETRIES)}',
        hint=did_you_mean(name.lower(), list(GEOMETRIES)),
    )
