"""GGUF metadata to tokenizer files: the ids must be those the model was trained with."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import pytest
from tokenizers import Tokenizer

from edgechat.convert.gguf.header import read_header
from edgechat.convert.gguf.pretokenizers import PRE_TOKENIZERS
from edgechat.convert.gguf.tokenizer import TokenType, write_tokenizer
from edgechat.errors import ConvertError

Json = dict[str, Any]

PHI3 = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "phi3-tokenizer"
needs_phi3 = pytest.mark.skipif(not PHI3.is_dir(), reason="the Phi-3 tokenizer is not beside this checkout")

TEXTS = [
    "Hello, world!",
    "I'm sure we'll say they'd've DON'T 'tis it's",
    "def f(x: int) -> str:\n\treturn f'{x:>08.3f}'  # π ≈ 3.14159\n\n\n",
    "if (a[0] != b->c && !d) { x <<= 2; } /* done */\r\n",
    "1 12 123 1234 12345 0.5 1,000,000 2024-01-01 x2y3 ½ Ⅷ ² ٣ ३",
    "日本語のテキスト、中文字符。한국어 문장입니다。",
    "😀 👩‍👩‍👧‍👦 🇩🇪 ❤️ ☕",
    "שָׁלוֹם עולם, مرحبا بالعالم, Привет, γειά",
    " leading, trailing ",
    "a  b   c    d\t\te\n\nf \n g\u00a0h\u3000i",
    "     12     x     \n     ",
    "é e\u0301 ñ n\u0303 ﬁ Å",
    "",
    " ",
    "\n",
    "   ",
    "http://example.org/a_b-c?d=e&f=%20#g <b>html</b> &amp;",
]
CHARACTERS = "abcXYZ 0123  \n\t'\"-_/.,;:!?<>{}[]()éßπжש中日한😀é\u0301½²\u00a0"


def random_texts(count: int, seed: int = 7) -> list[str]:
    source = random.Random(seed)
    return ["".join(source.choices(CHARACTERS, k=source.randint(1, 60))) for _ in range(count)]


def write_gguf(path: Path, fields: Json, architecture: str = "llama") -> Mapping[str, object]:
    """A GGUF file of metadata alone; a value of None is left out."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in fields.items():
        key = name if "." in name else f"tokenizer.ggml.{name}"
        if value is None:
            continue
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return read_header(path).metadata


def byte_level() -> Json:
    """A byte-level vocabulary: two control tokens, the 256 bytes, a few words."""
    from tokenizers.pre_tokenizers import ByteLevel

    words = ["he", "ll", "hell", "hello", "Ġ1", "12", "ĠĠ"]
    merges = ["h e", "l l", "he ll", "hell o", "Ġ 1", "1 2", "Ġ Ġ"]
    tokens = ["<|end|>", "<|start|>", *sorted(ByteLevel.alphabet()), *words]
    types = [3, 3] + [1] * (len(tokens) - 2)
    return {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": tokens,
        "token_type": types,
        "merges": merges,
        "bos_token_id": 1,
        "eos_token_id": 0,
    }


def sentence_piece() -> Json:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁h", "▁hi", "▁", "h", "i", "<|go|>"]
    types = [2, 3, 3] + [6] * 256 + [1] * 5 + [3]
    scores = [0.0] * 259 + [-1.0, -2.0, -3.0, -4.0, -5.0, 0.0]
    return {
        "model": "llama",
        "tokens": tokens,
        "token_type": types,
        "scores": scores,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }


def convert(tmp_path: Path, fields: Json, architecture: str = "llama") -> Tokenizer:
    write_tokenizer(write_gguf(tmp_path / "vocabulary.gguf", fields, architecture), tmp_path)
    return Tokenizer.from_file(str(tmp_path / "tokenizer.json"))


def ids(tokenizer: Tokenizer, text: str, *, bos: bool = False) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=bos).ids)


def og_tokenizer(folder: Path, *, bos: int, eos: int, size: int) -> Any:
    """onnxruntime-genai's tokenizer; it wants a genai_config.json beside the files, though not a model."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime_genai as og

    decoder = {
        "filename": "model.onnx",
        "head_size": 64,
        "hidden_size": 64,
        "num_attention_heads": 1,
        "num_hidden_layers": 1,
        "num_key_value_heads": 1,
        "inputs": {},
        "outputs": {},
        "session_options": {},
    }
    model = {
        "type": "llama",
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": eos,
        "vocab_size": size,
        "context_length": 64,
        "decoder": decoder,
    }
    folder.joinpath("genai_config.json").write_text(json.dumps({"model": model, "search": {"max_length": 64}}))
    return og.Tokenizer(str(folder))


class TestByteLevel:
    """Vocabularies of model "gpt2"."""

    def test_files_hold_what_a_reader_needs(self, tmp_path: Path) -> None:
        fields = byte_level() | {"tokenizer.chat_template": "{{ messages }}", "padding_token_id": 0}
        tokenizer = convert(tmp_path, fields)
        config = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
        assert config["tokenizer_class"] == "GPT2Tokenizer"
        assert config["chat_template"] == "{{ messages }}"
        assert (config["bos_token"], config["eos_token"], config["pad_token"]) == ("<|start|>", "<|end|>", "<|end|>")
        assert config["unk_token"] is None
        assert config["add_bos_token"] is False
        assert config["added_tokens_decoder"]["1"]["content"] == "<|start|>"
        roles = json.loads((tmp_path / "special_tokens_map.json").read_text("utf-8"))
        assert roles == {"bos_token": "<|start|>", "eos_token": "<|end|>", "pad_token": "<|end|>"}
        assert tokenizer.get_vocab_size() == len(fields["tokens"])

    def test_every_digit_stands_alone(self, tmp_path: Path) -> None:
        fields = byte_level()
        tokenizer = convert(tmp_path, fields)
        assert [tokenizer.id_to_token(token) for token in ids(tokenizer, "hello 12")] == ["hello", "Ġ", "1", "2"]

    def test_another_pre_tokenizer_keeps_digits_together(self, tmp_path: Path) -> None:
        tokenizer = convert(tmp_path, byte_level() | {"pre": "gpt-2"})
        assert [tokenizer.id_to_token(token) for token in ids(tokenizer, "hello 12")] == ["hello", "Ġ1", "2"]

    def test_bos_is_added_when_asked_for(self, tmp_path: Path) -> None:
        tokenizer = convert(tmp_path, byte_level() | {"add_bos_token": True})
        assert ids(tokenizer, "he", bos=True)[0] == 1

    def test_llama3_adds_bos_by_itself(self, tmp_path: Path) -> None:
        tokenizer = convert(tmp_path, byte_level() | {"pre": "llama-bpe"})
        assert ids(tokenizer, "he", bos=True)[0] == 1
        assert ids(tokenizer, "<|end|>") == [0]

    def test_unused_rows_at_the_end_are_left_out(self, tmp_path: Path) -> None:
        fields = byte_level()
        fields["tokens"] += ["[PAD0]", "[PAD1]"]
        fields["token_type"] += [5, 5]
        tokenizer = convert(tmp_path, fields)
        assert tokenizer.get_vocab_size() == len(fields["tokens"]) - 2

    @pytest.mark.parametrize("pre", sorted(PRE_TOKENIZERS))
    def test_every_known_pre_tokenizer_loses_nothing(self, tmp_path: Path, pre: str) -> None:
        tokenizer = convert(tmp_path, byte_level() | {"pre": pre})
        composed = [text for text in [*TEXTS, *random_texts(40)] if "\u0301" not in text and "\u0303" not in text]
        for text in composed:
            assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=False) == text


class TestSentencePiece:
    """Vocabularies of model "llama"."""

    def test_merges_follow_scores_and_bytes_stand_in(self, tmp_path: Path) -> None:
        fields = sentence_piece()
        tokenizer = convert(tmp_path, fields)
        assert [tokenizer.id_to_token(token) for token in ids(tokenizer, "hi", bos=True)] == ["<s>", "▁hi"]
        assert ids(tokenizer, "é") == [261, 3 + 0xC3, 3 + 0xA9]
        assert ids(tokenizer, "h<|go|> h") == [259, 264, 261, 259]

    def test_no_space_in_front_where_the_file_says_so(self, tmp_path: Path) -> None:
        tokenizer = convert(tmp_path, sentence_piece() | {"add_space_prefix": False})
        assert [tokenizer.id_to_token(token) for token in ids(tokenizer, "hi")] == ["h", "i"]
        assert tokenizer.decode(ids(tokenizer, " hi")) == " hi"

    def test_only_phi3_strips_after_control_tokens(self, tmp_path: Path) -> None:
        assert ids(convert(tmp_path, sentence_piece()), "<|go|>\nh") == [264, 261, 3 + 10, 262]
        assert ids(convert(tmp_path, sentence_piece(), "phi3"), "<|go|>\nh") == [264, 259]

    def test_bytes_are_never_merged_from_text(self, tmp_path: Path) -> None:
        fields = sentence_piece()
        fields["tokens"] += ["<0x4", "1>"]
        fields["token_type"] += [1, 1]
        fields["scores"] += [-6.0, -7.0]
        convert(tmp_path, fields)
        merges = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))["model"]["merges"]
        assert ["<0x4", "1>"] not in merges


class TestRefused:
    """What must end in words for the user, not in a traceback."""

    @pytest.mark.parametrize("model", ["bert", "t5", "rwkv", "none", "plamo2"])
    def test_other_models_are_named(self, tmp_path: Path, model: str) -> None:
        with pytest.raises(ConvertError, match=model):
            convert(tmp_path, byte_level() | {"model": model})

    @pytest.mark.parametrize("pre", ["default", "deepseek-v3", "made-up"])
    def test_unknown_pre_tokenizer_is_named(self, tmp_path: Path, pre: str) -> None:
        with pytest.raises(ConvertError, match=pre):
            convert(tmp_path, byte_level() | {"pre": pre})

    @pytest.mark.parametrize("missing", ["model", "pre", "tokens", "token_type", "merges"])
    def test_missing_metadata_is_named(self, tmp_path: Path, missing: str) -> None:
        with pytest.raises(ConvertError, match=f"tokenizer.ggml.{missing}"):
            convert(tmp_path, byte_level() | {missing: None})
        assert not (tmp_path / "tokenizer.json").exists()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"token_type": [1, 1]}, "2 token types"),
            ({"token_type": "text"}, "token_type"),
            ({"eos_token_id": 100_000}, "eos_token_id is 100000"),
            ({"eos_token_id": "two"}, "not a whole number"),
            ({"merges": ["h e", "q zz"]}, "q zz"),
            ({"merges": ["he"]}, "he"),
            ({"tokens": [1, 2, 3]}, "tokens"),
            ({"model": 5}, "tokenizer.ggml.model"),
            ({"add_bos_token": True, "bos_token_id": None}, "beginning token"),
        ],
    )
    def test_inconsistent_byte_level(self, tmp_path: Path, change: Json, words: str) -> None:
        with pytest.raises(ConvertError, match=words):
            convert(tmp_path, byte_level() | change)

    def test_double_tokens_and_strange_types(self, tmp_path: Path) -> None:
        fields = byte_level()
        fields["tokens"][5] = fields["tokens"][6]
        with pytest.raises(ConvertError, match="two ids"):
            convert(tmp_path, fields)
        fields = byte_level()
        fields["token_type"][5] = 9
        with pytest.raises(ConvertError, match="type 9"):
            convert(tmp_path, fields)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"scores": None}, "scores"),
            ({"scores": [0.5]}, "1 score\\."),
            ({"scores": [float("nan")] * 265}, "not numbers"),
            ({"unknown_token_id": 265}, "unknown_token_id"),
        ],
    )
    def test_inconsistent_sentence_piece(self, tmp_path: Path, change: Json, words: str) -> None:
        with pytest.raises(ConvertError, match=words):
            convert(tmp_path, sentence_piece() | change)

    def test_broken_utf8(self, tmp_path: Path) -> None:
        path = tmp_path / "vocabulary.gguf"
        write_gguf(path, byte_level())
        path.write_bytes(path.read_bytes().replace(b"hello", b"\xff\xfe\xff\xfe\xff"))
        with pytest.raises(ConvertError, match=r"tokenizer\.ggml\.tokens cannot be read"):
            write_tokenizer(read_header(path).metadata, tmp_path)


@needs_phi3
class TestPhi3:
    """The real Phi-3 vocabulary, brought to GGUF and back."""

    @pytest.fixture(scope="class")
    def original(self) -> Json:
        data: Json = json.loads((PHI3 / "tokenizer.json").read_text("utf-8"))
        return data

    @pytest.fixture(scope="class")
    def fields(self, original: Json) -> Json:
        """The metadata as Phi-3's GGUF has them: SentencePiece's tokens, types and scores, then the added tokens."""
        vocabulary: dict[str, int] = original["model"]["vocab"]
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        types = [
            TokenType.BYTE if token.startswith("<0x") and len(token) == 6 else TokenType.NORMAL for token in tokens
        ]
        # Scores fall with the rank of the merge that makes a piece; pieces of white space alone share the worst one,
        # and what no merge makes (single characters) comes after the last merge.
        whole = list(dict.fromkeys(merge.replace(" ", "") for merge in original["model"]["merges"]))
        scores = dict.fromkeys(tokens, -float(len(whole)))
        scores |= {token: -1e9 if set(token) == {"▁"} else -float(rank) for rank, token in enumerate(whole)}
        for added in original["added_tokens"]:
            number = added["id"]
            if number == len(tokens):
                tokens.append(added["content"])
                types.append(TokenType.CONTROL)
            types[number] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
            scores[added["content"]] = -1000.0
        types[0] = TokenType.UNKNOWN
        return {
            "general.name": "Phi3",
            "model": "llama",
            "pre": "default",
            "tokens": tokens,
            "token_type": [int(kind) for kind in types],
            "scores": [scores[token] for token in tokens],
            "bos_token_id": 1,
            "eos_token_id": 32000,
            "unknown_token_id": 0,
            "padding_token_id": 32000,
            "add_bos_token": True,
        }

    @pytest.fixture(scope="class")
    def folder(self, fields: Json, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("phi3")
        reader = write_gguf(folder / "vocabulary.gguf", fields, "phi3")
        write_tokenizer(reader, folder)
        return folder

    def test_merges_and_pieces_are_the_original_ones(self, original: Json, folder: Path) -> None:
        model = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]
        assert model["vocab"] == original["model"]["vocab"]
        assert [" ".join(merge) for merge in model["merges"]] == original["model"]["merges"]

    def test_ids_are_the_original_ones(self, original: Json, folder: Path) -> None:
        # The original here is of Phi-3-vision, which lets three control tokens keep the white space after them. GGUF
        # cannot say so, and Phi-3-mini, which edgechat is made for, strips after all of its control tokens.
        changed = {"<|system|>", "<|user|>", "<|end|>"}
        original = original | {
            "added_tokens": [
                token | {"rstrip": True} if token["content"] in changed else token for token in original["added_tokens"]
            ]
        }
        expected = Tokenizer.from_str(json.dumps(original))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        prompt = "<|system|>\nBe kind.<|end|>\n<|user|>\n  Hi\n\n there <|end|>\n<|assistant|>\n"
        tricky = [prompt, "a</s> b", "<s>  x<|endoftext|>\n y", "<|placeholder1|>\t\n z", "<|end|><|end|>\n", " " * 50]
        for text in [*TEXTS, *tricky, *random_texts(300), *(prompt + text for text in random_texts(50))]:
            for bos in (False, True):
                assert ids(tokenizer, text, bos=bos) == ids(expected, text, bos=bos), text
        assert ids(tokenizer, "<|user|>\nHi<|end|>\n<|assistant|>\n") == [32010, 6324, 32007, 32001]

    def test_other_tokens_keep_the_original_rules(self, original: Json, folder: Path) -> None:
        # Without white space after those three, the file as it is must agree too.
        expected = Tokenizer.from_str(json.dumps(original))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        for text in ["<|user|>Hi<|end|><|assistant|>\nYes<|end|>", "<|endoftext|>\n\n", "</s>  a", *random_texts(100)]:
            assert ids(tokenizer, text) == ids(expected, text)

    def test_decoding_gives_the_text_back(self, folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        for text in [*TEXTS, *random_texts(100)]:
            assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=False) == text

    def test_the_engine_reads_the_same(self, folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        engine = og_tokenizer(folder, bos=1, eos=32000, size=32064)
        # Plain words only: on odd mixes of marks and white space the engine's own encoder departs from `tokenizers`,
        # with the published Phi-3 file as well. Prompts are encoded with `tokenizers`.
        for text in ["Hello, world!", "<|user|>\nHi there<|end|>\n<|assistant|>\n", "日本語 and שלום", "x = 12345"]:
            assert [int(token) for token in engine.encode(text)] == ids(tokenizer, text)
        assert engine.decode(ids(tokenizer, "Hello, wörld! 日本")).strip() == "Hello, wörld! 日本"


@pytest.mark.model
class TestDefaultModel:
    """The GGUF file of the default model."""

    @pytest.fixture(scope="class")
    def folder(self, default_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("smollm2")
        write_tokenizer(read_header(default_gguf).metadata, folder)
        return folder

    def test_control_tokens(self, folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        assert (tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>")) == (1, 2)
        assert ids(tokenizer, "<|im_start|>user\nHi<|im_end|>\n", bos=True) == [1, 4093, 198, 26843, 2, 198]
        config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        assert config["eos_token"] == "<|im_end|>"
        assert "<|im_start|>" in config["chat_template"]

    def test_the_engine_reads_the_same_ids(self, folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        engine = og_tokenizer(folder, bos=1, eos=2, size=49152)
        chat = "<|im_start|>user\n 12  {}<|im_end|>\n<|im_start|>assistant\n"
        for text in [*TEXTS, *random_texts(300), *(chat.format(text) for text in TEXTS)]:
            expected = ids(tokenizer, text)
            assert [int(token) for token in engine.encode(text)] == expected, text
            assert tokenizer.decode(expected, skip_special_tokens=False) == text
            if "<|" not in text:
                assert engine.decode(expected) == text

    def test_cutting_equals_the_published_rule(self, folder: Path) -> None:
        # SmolLM2's own tokenizer.json cuts with Digits and ByteLevel; ours must cut the same places with regexes.
        data = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        tokenizer = Tokenizer.from_str(json.dumps(data))
        data["pre_tokenizer"]["pretokenizers"] = [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ]
        published = Tokenizer.from_str(json.dumps(data))
        for text in [*TEXTS, *random_texts(300, seed=11)]:
            assert ids(tokenizer, text) == ids(published, text), text
