"""Puts prompts into numbers: static embeddings on the CPU, from a package that carries the model. No network.

A vector is the mean of the vectors of a prompt's tokens, so it knows of no order: it ranks what the guard lets through.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

MODEL = "wordllama"  # the package; its own loader looks for the tokenizer where it is not, so we read the two files
WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
DIMENSIONS = 256

Vectors = NDArray[np.float32]


class Embedding:
    """The model, in memory: 16 MB of weights that take a fifth of a second to read.

    Raises:
        ModuleNotFoundError: The package that carries the model is not installed.
        OSError: Its files are not where they were.
    """

    def __init__(self) -> None:
        root = _folder_of(MODEL)
        self._weights = load_file(root / WEIGHTS)["embedding.weight"]
        self._tokenizer = Tokenizer.from_file(str(root / TOKENIZER))
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return a row of length one for each text; a text without tokens has zeros."""
        rows = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            tokens = self._tokenizer.encode(text, add_special_tokens=False).ids  # a batch would start threads
            if tokens:
                mean = self._weights[tokens].mean(axis=0, dtype=np.float32)
                row[:] = mean / max(float(np.linalg.norm(mean)), 1e-9)
        return rows


def _folder_of(package: str) -> Path:
    """Find an installed package without running it."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(found.origin).parent
