r"""How each byte-level vocabulary splits text into words before merging bytes.

A GGUF file contains only the *name* of this, `tokenizer.ggml.pre`; its meaning is defined in llama.cpp's
`llama-vocab.cpp` and in the tokenizer.json files the names come from. Wrong splits give wrong ids, and a model that
answers badly without any error, so a name not in this table must be refused, never guessed.

Every split is written as a `Split` with a regex, even where Hugging Face's own file has a `Digits` step: the tokenizer
in onnxruntime-genai ignores `Digits`, but follows a sequence of `Split` steps.
"""

from __future__ import annotations

from dataclasses import dataclass

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_DIGIT = r"\p{N}"
_ENDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TAIL_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_ENDS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_TAIL}"
_QWEN2 = rf"{_ENDS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_TAIL}"
# Words starting with capitals, then words ending in capitals.
_LOWER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
_UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
_GPT4O = rf"{_LOWER}{_ENDS}?|{_UPPER}{_ENDS}?|\p{{N}}{{1,3}}|{_TAIL_SLASH}"
_TEKKEN = rf"{_LOWER}|{_UPPER}|\p{{N}}|{_TAIL_SLASH}"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """The rules for one name.

    Attributes:
        splits: Regexes, applied in turn; every match and every gap between matches becomes a word.
        ignore_merges: Whether a word that is itself a token is used directly, whatever the merges would give.
        bos: Whether text starts with the BOS token if the file does not say.
        nfc: Whether text is first normalised to NFC.
    """

    splits: tuple[str, ...]
    ignore_merges: bool = False
    bos: bool = False
    nfc: bool = False


_PLAIN = PreTokenizer((_GPT2,))
_DIGITS = PreTokenizer((_DIGIT, _GPT2))
_LLAMA3_BPE = PreTokenizer((_LLAMA3,), ignore_merges=True, bos=True)
_LLAMA3_PLAIN = PreTokenizer((_LLAMA3,))
_QWEN = PreTokenizer((_QWEN2,), nfc=True)

PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    **dict.fromkeys(
        ("gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "granite-docling", "gigachat", "mellum", "exaone4"),
        _PLAIN,
    ),
    **dict.fromkeys(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"), _DIGITS
    ),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3"), _LLAMA3_BPE),
    **dict.fromkeys(("dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), _LLAMA3_PLAIN),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), _QWEN),
    **dict.fromkeys(("stablelm2", "hunyuan", "megrez"), PreTokenizer((_QWEN2,))),
    "gpt-4o": PreTokenizer((_GPT4O,)),
    "tekken": PreTokenizer((_TEKKEN,), ignore_merges=True, bos=True),
}
"""Rules by name in `tokenizer.ggml.pre`."""
