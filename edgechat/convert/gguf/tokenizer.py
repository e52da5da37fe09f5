"""Converts a GGUF file's tokenizer to the JSON files that onnxruntime-genai and `tokenizers` read.

The ids must be those the model was trained with: a tokenizer with one wrong rule still loads and still answers, just
badly. So nothing is guessed: metadata that is missing, inconsistent or of an unknown kind raises `ConvertError`, and
    the
files are read back with `tokenizers` as a final check.

Two kinds of vocabulary are supported: byte-level BPE (`gpt2`), whose merges are listed in the file, and SentencePiece
    BPE
(`llama`), whose merges follow from the scores of the pieces. The rules are those of llama.cpp (`llama-vocab.cpp`) and
of the Hugging Face tokenizers that the GGUF files were made from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

from edgechat.chat.sanitize import one_line as shown
from edgechat.convert.gguf.pretokenizers import PRE_TOKENIZERS, PreTokenizer
from edgechat.errors import ConvertError
from edgechat.i18n.catalog import counted

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]
Item = TypeVar("Item", str, int, float)

# Tokens have a few letters, the longest real ones some hundred. The merges of a SentencePiece vocabulary follow from
# every way to split each piece, which takes quadratic time in its length.
_LONGEST_TOKEN, _MOST_CUTTING = 2_000, 200_000_000
_LONGEST_TEMPLATE = 1_000_000

_TITLE = "The model's tokenizer cannot be converted"
# Phi-3's control tokens strip the white space after them, except these. GGUF files do not say so: llama.cpp goes by the
# model's name, Hugging Face by the `rstrip` of each token.
_PHI3_KEEPS_SPACE = frozenset({"<unk>", "<s>", "<|endoftext|>"})


class TokenType(IntEnum):
    """The values of `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


_WHOLE = frozenset({TokenType.UNKNOWN, TokenType.CONTROL, TokenType.USER_DEFINED})


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The validated vocabulary of a GGUF file.

    Attributes:
        model: "gpt2" or "llama".
        tokens: The tokens by id, without unused ones at the end.
        types: The type of each.
        scores: SentencePiece's score of each; empty for "gpt2".
        merges: The merges of "gpt2", best first; empty for "llama".
        pre: Splitting rules of "gpt2"; None for "llama".
        special: Ids by role: "bos", "eos", "unk", "pad", if the file names them.
        add_bos: Whether a prompt starts with the BOS token.
        add_space: Whether "llama" puts a space before the text.
        strips_right: Whether control tokens strip the white space after them, as Phi-3's do.
        chat_template: The model's Jinja chat template; empty if the file has none.
    """

    model: str
    tokens: tuple[str, ...]
    types: tuple[TokenType, ...]
    scores: tuple[float, ...]
    merges: tuple[tuple[str, str], ...]
    pre: PreTokenizer | None
    special: dict[str, int]
    add_bos: bool
    add_space: bool
    strips_right: bool
    chat_template: str


def write_tokenizer(metadata: Mapping[str, object], out_dir: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` for a GGUF file.

    Args:
        metadata: The file's metadata by key: `GgufHeader.metadata`.
        out_dir: An existing folder; files with these names are replaced.

    Raises:
        ConvertError: The tokenizer is of an unknown kind, or its metadata is missing or inconsistent.
        OSError: A file cannot be written.
    """
    vocabulary = read_vocabulary(metadata)
    added = _added_tokens(vocabulary)
    tokenizer = _tokenizer_json(vocabulary, added)
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    _check_loads(text, vocabulary)
    config = _tokenizer_config(vocabulary, added)
    roles = {key: value for key, value in config.items() if key.endswith("_token") and isinstance(value, str)}
    out_dir.joinpath("tokenizer.json").write_text(text, "utf-8")
    for name, value in (("tokenizer_config.json", config), ("special_tokens_map.json", roles)):
        out_dir.joinpath(name).write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")


def read_vocabulary(metadata: Mapping[str, object]) -> Vocabulary:
    """Read the tokens and rules of a GGUF file.

    Raises:
        ConvertError: See `write_tokenizer`.
    """
    fields = _Fields(metadata)
    model = fields.text("model")
    if model not in ("gpt2", "llama"):
        raise _refused(
            f"Its tokenizer model is {shown(repr(model))}; byte-level BPE (gpt2) and SentencePiece (llama) are known."
        )
    tokens, types = _tokens(fields)
    pre: PreTokenizer | None = None
    scores: tuple[float, ...] = ()
    merges: tuple[tuple[str, str], ...] = ()
    if model == "gpt2":
        name = fields.text("pre")
        pre = PRE_TOKENIZERS.get(name)
        if pre is None:
            raise _refused(
                f"Its pre-tokenizer {shown(repr(name))} is not known; known are {', '.join(sorted(PRE_TOKENIZERS))}."
            )
        merges = tuple(_listed_merges(fields, set(tokens)))
    else:
        scores = tuple(fields.array("scores", float)[: len(tokens)])
        if len(scores) != len(tokens):
            raise _refused(f"It has {counted(len(tokens), 'token')} but {counted(len(scores), 'score')}.")
        if not all(map(math.isfinite, scores)):
            raise _refused("Some of its token scores are not numbers.")
    special = {}
    for role, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"), ("eot", "eot")):
        number = fields.number(f"{key}_token_id")
        if number is None:
            continue
        if not 0 <= number < len(tokens):
            raise _refused(f"tokenizer.ggml.{key}_token_id is {number}, but the number of tokens is {len(tokens)}.")
        special[role] = number
    if "unk" not in special and TokenType.UNKNOWN in types:
        special["unk"] = types.index(TokenType.UNKNOWN)
    add_bos = fields.flag("add_bos_token", default=pre.bos if pre else True)
    if add_bos and "bos" not in special:
        if fields.get("add_bos_token") is not None:
            raise _refused("It asks for a beginning token but does not name one.")
        add_bos = False
    template = fields.text("tokenizer.chat_template", default="")
    if len(template) > _LONGEST_TEMPLATE:
        raise _refused(f"Its chat template has {len(template):,} letters.")
    return Vocabulary(
        model=model,
        tokens=tokens,
        types=types,
        scores=scores,
        merges=merges,
        pre=pre,
        special=special,
        add_bos=add_bos,
        add_space=fields.flag("add_space_prefix", default=True),
        strips_right=model == "llama" and fields.text("general.architecture", default="") == "phi3",
        chat_template=template,
    )


def _refused(message: str) -> ConvertError:
    return ConvertError(_TITLE, message, "Use another GGUF file of this model, or its ONNX GenAI folder.")


class _Fields:
    """Typed access to GGUF metadata; a bare name means `tokenizer.ggml.<name>`."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        self._metadata = metadata

    def get(self, name: str) -> object:
        return self._metadata.get(_key(name))

    def text(self, name: str, *, default: str | None = None) -> str:
        value = self.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise _refused(f"The file has no usable {_key(name)}.")
        if not _is_text(value):
            raise _refused(f"The file's {_key(name)} cannot be read: it is not UTF-8, or holds a zero byte.")
        return value

    def number(self, name: str) -> int | None:
        value = self.get(name)
        if value is not None and type(value) is not int:
            raise _refused(f"The file's {_key(name)} is not a whole number.")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.get(name)
        return default if value is None else bool(value)

    def array(self, name: str, kind: type[Item]) -> list[Item]:
        value = self.get(name)
        if not isinstance(value, list | tuple) or not all(isinstance(item, kind) for item in value):
            raise _refused(f"The file has no usable {_key(name)}.")
        if kind is str and not _is_text("".join(value)):
            raise _refused(f"The file's {_key(name)} cannot be read: it is not UTF-8, or holds a zero byte.")
        return list(value)


def _is_text(value: str) -> bool:
    """Whether it can be encoded as UTF-8 and contains no NUL, which some readers take as the end."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _key(name: str) -> str:
    return name if "." in name else f"tokenizer.ggml.{name}"


def _tokens(fields: _Fields) -> tuple[tuple[str, ...], tuple[TokenType, ...]]:
    """Return the tokens and their types, up to the last one in use.

    Embedding matrices are often padded with unused rows, for which the file has made-up names.
    """
    tokens = fields.array("tokens", str)
    numbers = fields.array("token_type", int)
    if len(tokens) != len(numbers):
        raise _refused(f"It has {counted(len(tokens), 'token')} but {counted(len(numbers), 'token type')}.")
    known = {int(kind): kind for kind in TokenType}
    if strange := set(numbers) - known.keys():
        raise _refused(f"Token type {min(strange)} is not known.")
    types = [known[number] for number in numbers]
    while types and types[-1] is TokenType.UNUSED:
        types.pop()
    tokens = tokens[: len(types)]
    if not tokens:
        raise _refused("It has no tokens.")
    if (longest := max(map(len, tokens))) > _LONGEST_TOKEN:
        raise _refused(f"One of its tokens has {longest:,} letters.")
    if len(set(tokens)) != len(tokens):
        found: set[str] = set()
        double = next(token for token in tokens if token in found or found.add(token))  # type: ignore[func-returns-value]
        raise _refused(f"The token {shown(repr(double))} has two ids.")
    return tuple(tokens), tuple(types)


def _listed_merges(fields: _Fields, tokens: set[str]) -> Iterator[tuple[str, str]]:
    for line in fields.array("merges", str):
        left, _, right = line.partition(" ")
        if left not in tokens or right not in tokens or left + right not in tokens:
            raise _refused(f"The merge {shown(repr(line))} does not fit its tokens.")
        yield left, right


def _scored_merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Return the merges of a SentencePiece vocabulary, best first.

    SentencePiece joins the neighbours whose joined piece has the best score. So every way to split a piece in two is a
    merge, ranked by the piece's score; ties go to lower ids.
    """
    if sum(len(token) ** 2 for token in vocabulary.tokens) > _MOST_CUTTING:
        raise _refused("Its tokens are longer than those of any real vocabulary.")
    ids = {
        token: number
        for number, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind is TokenType.NORMAL
    }
    ranked: list[tuple[float, int, int, int, str, str]] = []
    for token, number in ids.items():
        score = -vocabulary.scores[number]
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ids and right in ids:
                ranked.append((score, number, ids[left], ids[right], left, right))
    ranked.sort()
    return [(left, right) for *_, left, right in ranked]


def _added_tokens(vocabulary: Vocabulary) -> list[Json]:
    """Return the tokens that are matched in text as a whole, before any splitting or merging."""
    out: list[Json] = []
    for number, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True)):
        if kind in _WHOLE and token:
            out.append(
                {
                    "id": number,
                    "content": token,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": vocabulary.strips_right and token not in _PHI3_KEEPS_SPACE,
                    "normalized": False,
                    "special": kind is not TokenType.USER_DEFINED,
                }
            )
    return out


def _tokenizer_json(vocabulary: Vocabulary, added: list[Json]) -> Json:
    # Added tokens at the very end stay out of the model's own vocabulary, as in the files of Llama and Phi-3, so that
    # no merge or whole-word match can ever produce one of them from text.
    size = len(vocabulary.tokens)
    for token in reversed(added):
        if token["id"] != size - 1:
            break
        size -= 1
    merges = list(vocabulary.merges) if vocabulary.pre else _scored_merges(vocabulary)
    model: Json = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": bool(vocabulary.pre and vocabulary.pre.ignore_merges),
        "vocab": {token: number for number, token in enumerate(vocabulary.tokens[:size])},
        "merges": merges,
    }
    steps = _byte_level(vocabulary.pre) if vocabulary.pre else _sentence_piece(vocabulary, model)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        **steps,
        "post_processor": _post_processor(vocabulary),
        "model": model,
    }


def _byte_level(pre: PreTokenizer) -> Json:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    splits = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False} for regex in pre.splits
    ]
    return {
        "normalizer": {"type": "NFC"} if pre.nfc else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, byte_level]},
        "decoder": {**byte_level, "use_regex": True},
    }


def _sentence_piece(vocabulary: Vocabulary, model: Json) -> Json:
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    decoders: list[Json] = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    normalizers: list[Json] = [spaces]
    if vocabulary.add_space:
        normalizers.insert(0, {"type": "Prepend", "prepend": "▁"})
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    model["byte_fallback"] = TokenType.BYTE in vocabulary.types
    if "unk" in vocabulary.special:
        model["unk_token"] = vocabulary.tokens[vocabulary.special["unk"]]
        model["fuse_unk"] = True
    return {
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
    }


def _post_processor(vocabulary: Vocabulary) -> Json | None:
    if not vocabulary.add_bos:
        return None
    number = vocabulary.special["bos"]
    name = vocabulary.tokens[number]
    bos = {"SpecialToken": {"id": name, "type_id": 0}}
    first = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [bos, first],
        "pair": [
            bos,
            first,
            {"SpecialToken": {"id": name, "type_id": 1}},
            {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {name: {"id": name, "ids": [number], "tokens": [name]}},
    }


def _tokenizer_config(vocabulary: Vocabulary, added: list[Json]) -> Json:
    config: Json = {
        "add_bos_token": vocabulary.add_bos,
        "add_eos_token": False,
        "added_tokens_decoder": {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in added
        },
        "clean_up_tokenization_spaces": False,
        # This name selects byte-level or SentencePiece behaviour in the engine.
        "tokenizer_class": "GPT2Tokenizer" if vocabulary.pre else "LlamaTokenizer",
    }
    for role in ("bos", "eos", "unk", "pad"):
        number = vocabulary.special.get(role)
        config[f"{role}_token"] = None if number is None else vocabulary.tokens[number]
    if vocabulary.chat_template:
        config["chat_template"] = vocabulary.chat_template
    return config


def _check_loads(text: str, vocabulary: Vocabulary) -> None:
    """Read the tokenizer back; every token must have the id that the weights use."""
    # Imported here because reading metadata for `models show` needs no native library.
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises bare Exception
        raise _refused(f"Its tokens do not fit together: {shown(error)}.") from error
    for number, token in enumerate(vocabulary.tokens):
        if token and loaded.token_to_id(token) != number:
            raise _refused(f"The token {shown(repr(token))} would change its id from {number}.")
