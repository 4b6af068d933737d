"""A real model file that is small, free and always says the same: for tests against a real llama.cpp server.

It is a llama with one layer whose attention and feed-forward weights are zero. What remains is a table: the last
token alone decides the next one. So the sampling, the grammars, the chat template and the parsing are llama.cpp's
own, and only the model's mind is missing:

    a chat                        "Hello from the tiny model."
    JSON mode                     {"ok":true}
    a JSON schema                 strings are "Paris", integers 7, booleans true
    tools                         a call of the tool whose name sorts first, with arguments as for a schema
    a chat that ends in a         "Hello from the tiny model."
    tool's result
    embeddings                    one dimension per token of the text: how often it occurs, normalised

When tools are given and forbidden (``tool_choice="none"``) it says a bare ``<tool_call>``: the template is not told.

Two rules of llama.cpp shape the table. A grammar only removes candidates, so every token carries one order of
preference in which the tokens that *end* things come first: any grammar then comes to its end. And no token may be
named ``<|call|>``: llama.cpp takes it for an end of generation, and aborts when a tool is required.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs

__all__ = ["CHAT_ANSWER", "tiny_model_path", "write_tiny_model"]

CHAT_ANSWER = "Hello from the tiny model."
"""What the model answers to every chat without tools."""

_SPOKEN = ("Hello", " from", " the", " tiny", " model")  # the final stop is a byte of its own
_VALUES = ('{"ok":true}', '"Paris"', "true")
_MARKERS = ("<tool_call>", "</tool_call>")
_CONTROL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|act|>")

# After any token, these are wanted in this order, as far as a grammar allows them. Endings come first. A whole string
# comes before the quotation mark that would open one, and everything that may stand inside a string comes after the
# mark that closes it.
_PREFERENCE = ("<|end|>", "</tool_call>", '"Paris"', '"', "}", "]", "true", "7", ",")
# A JSON value is followed by the end of what encloses it, never by another value.
_AFTER_VALUE = ("<|end|>", "}", "]", ",")
_BLANKS = " \t\r\n"

_WIDTH = 288  # one dimension per token, rounded up to a multiple of the head size
_HEAD = 32
_CONTEXT = 32768

# Tokens are bytes, so a prompt is as many tokens long as it has bytes; the template keeps the rest short.
_TEMPLATE = """\
{%- if tools -%}
<|system|>Functions:{% for tool in tools %}{{ tool | tojson }}{% endfor -%}
Call one with <tool_call>{"name": "its name", "arguments": {}}</tool_call><|end|>
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
<|user|>Result: {{ message.content }}<|end|>
{%- elif message.role == 'assistant' and message.tool_calls -%}
<|assistant|>{{ message.content or '' }}{% for call in message.tool_calls -%}
<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>
{%- endfor -%}<|end|>
{%- else -%}
<|{{ message.role }}|>{{ message.content }}<|end|>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>{% if tools and messages[-1].role != 'tool' %}<|act|>{% endif -%}
{%- endif -%}
"""


def tiny_model_path() -> Path:
    """The model in the user's cache folder, written there first when this version of it is not there yet.

    Raises:
        RuntimeError: the packages that write it are not installed; the message names the command that installs them.
    """
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    path = platformdirs.user_cache_path("litellm-gateway-plugin") / f"tiny-{recipe}.gguf"
    return path if path.exists() else write_tiny_model(path)


def write_tiny_model(path: str | os.PathLike[str]) -> Path:
    """Write the model, about 0.7 MB and the same bytes every time, to ``path``, and return that path.

    The file appears at once and whole, so several processes may write the same path.

    Raises:
        RuntimeError: the packages that write it are not installed; the message names the command that installs them.
    """
    try:
        import gguf
        import numpy as np
    except ImportError as error:
        raise RuntimeError("the tiny model is written with gguf and numpy: pip install gguf numpy") from error

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokens = _vocabulary()
    size = len(tokens)
    number = {text: index for index, (text, _) in enumerate(tokens)}

    table = np.zeros((size, _WIDTH), np.float16)  # [next token, last token]
    table[:256] = -np.arange(256)[:, None] / 1024  # a tie, such as that of two tools' names, goes to the lower byte
    for last, following, wanted in _wishes():
        table[number[following.encode()], slice(size) if last is None else number[last.encode()]] = wanted
    one_hot = np.zeros((size, _WIDTH), np.float16)
    one_hot[np.arange(size), np.arange(size)] = 1

    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    try:
        writer = gguf.GGUFWriter(draft, "llama")
        writer.add_name("tiny")
        writer.add_context_length(_CONTEXT)
        writer.add_embedding_length(_WIDTH)
        writer.add_block_count(1)
        writer.add_feed_forward_length(_HEAD)
        writer.add_head_count(_WIDTH // _HEAD)
        writer.add_head_count_kv(1)
        writer.add_rope_dimension_count(_HEAD)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_vocab_size(size)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([_spell(text) for text, _ in tokens])
        writer.add_token_types([kind for _, kind in tokens])
        writer.add_token_merges(["{0} {0}".format(_spell(bytes(1)))])  # llama.cpp insists on one; this one never occurs
        for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
            add(number[b"<|end|>"])
        writer.add_add_bos_token(False)
        writer.add_chat_template(_TEMPLATE.strip())

        writer.add_tensor("token_embd.weight", one_hot)
        writer.add_tensor("output.weight", table)
        for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
            writer.add_tensor(f"{name}.weight", np.ones(_WIDTH, np.float32))
        for name, rows, columns in (
            ("attn_q", _WIDTH, _WIDTH),
            ("attn_k", _HEAD, _WIDTH),
            ("attn_v", _HEAD, _WIDTH),
            ("attn_output", _WIDTH, _WIDTH),
            ("ffn_gate", _HEAD, _WIDTH),
            ("ffn_up", _HEAD, _WIDTH),
            ("ffn_down", _WIDTH, _HEAD),
        ):
            writer.add_tensor(f"blk.0.{name}.weight", np.zeros((rows, columns), np.float16))

        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)
    return path


def _vocabulary() -> list[tuple[bytes, int]]:
    """Every token with its GGUF type: 1 ordinary, 3 control, 4 user-defined. Token n is byte n, up to 255."""
    tokens = [(bytes([byte]), 1) for byte in range(256)]
    tokens += [(text.encode(), 1) for text in _SPOKEN + _VALUES]
    tokens += [(text.encode(), 4) for text in _MARKERS]
    return tokens + [(text.encode(), 3) for text in _CONTROL]


def _wishes() -> Iterator[tuple[str | None, str, float]]:
    """The table's entries: (last token or None for all, next token, how much it is wanted). Later entries win.

    A step of 1 here is a factor of e**17 in the odds, so that sampling at temperature 1 follows the order too.
    """
    for text in _BLANKS:
        yield None, text, -1
    for rank, text in enumerate(reversed(_PREFERENCE), start=1):
        yield None, text, rank
    for value in ('"Paris"', "true", "7"):
        for rank, text in enumerate(reversed(_AFTER_VALUE), start=20):
            yield value, text, rank
    spoken = ("<|assistant|>", *_SPOKEN, ".", "<|end|>")
    for last, following in itertools.pairwise(spoken):
        yield last, following, 32
    yield "<|assistant|>", '{"ok":true}', 24  # the best of what a JSON grammar leaves
    yield "<|act|>", "<tool_call>", 32


def _spell(token: bytes) -> str:
    """A token as byte-level BPE vocabularies spell it: one printable character per byte."""
    return "".join(_BYTE_TO_CHAR[byte] for byte in token)


def _byte_characters() -> dict[int, str]:
    """GPT-2's byte alphabet: printable Latin-1 stands for itself, the rest moves above U+0100 in order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(moved)}


_BYTE_TO_CHAR = _byte_characters()
