"""Facts from the header of a GGUF file: geometry, tensors, vocabulary, fingerprint.

It reads no weights, loads no library but the standard one, and knows nothing of configuration.
"""

from modelrouter.gguf.facts import GgufFacts, GgufFile, read_facts
from modelrouter.gguf.tensors import FILE_TYPES, TENSOR_TYPES, Tensor, TensorType
from modelrouter.gguf.vocabulary import FimTokens

__all__ = [
    "FILE_TYPES",
    "TENSOR_TYPES",
    "FimTokens",
    "GgufFacts",
    "GgufFile",
    "Tensor",
    "TensorType",
    "read_facts",
]
