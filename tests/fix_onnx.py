"""A model in ONNX's format, small enough to be written here byte by byte, with its tokenizer."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

FLOAT, INT64 = 1, 7
VOCABULARY = ["[PAD]", "[UNK]", "refund", "money", "back", "plant", "light"]
VECTORS = [[9.0, 9.0, 9.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.8, 0.0, 0.2], [0.0, 1.0, 0.0], [0.0, 0.9, 0.1]]
"""Of the vocabulary. That of the padding is far off: a mean over it would show."""


def onnx_folder(folder: Path, *, inputs: Sequence[str] = ("input_ids", "attention_mask", "token_type_ids")) -> Path:
    """A model that gives each token its vector, as models do before they are pooled."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder.mkdir(exist_ok=True)
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.onnx").write_bytes(_model(inputs))
    return folder


def _model(inputs: Sequence[str]) -> bytes:
    rows, width = len(VECTORS), len(VECTORS[0])
    weights = b"".join(struct.pack(f"<{width}f", *row) for row in VECTORS)
    node = _message({1: [b"weights", inputs[0].encode()], 2: [b"last_hidden_state"], 4: [b"Gather"]})
    tensor = _message({1: [rows, width], 2: [FLOAT], 8: [b"weights"], 9: [weights]})
    given = [_value(name, INT64, ["batch", "length"]) for name in inputs]
    output = _value("last_hidden_state", FLOAT, ["batch", "length", width])
    graph = _message({1: [node], 2: [b"tokens"], 5: [tensor], 11: given, 12: [output]})
    return _message({1: [8], 7: [graph], 8: [_message({2: [13]})]})


def _value(name: str, kind: int, sides: Sequence[str | int]) -> bytes:
    shape = _message({1: [_message({1: [side]} if isinstance(side, int) else {2: [side.encode()]}) for side in sides]})
    return _message({1: [name.encode()], 2: [_message({1: [_message({1: [kind], 2: [shape]})]})]})


def _message(fields: Mapping[int, Sequence[int | bytes]]) -> bytes:
    """A message of Protocol Buffers: numbers, and texts or messages with their lengths."""
    return b"".join(
        _number(field << 3) + _number(value) if isinstance(value, int) else _number(field << 3 | 2) + _number(len(value)) + value
        for field, values in fields.items()
        for value in values
    )


def _number(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + _number(value >> 7)
