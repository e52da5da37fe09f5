"""Prompt forms, without and with the real Phi-3 tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Environment

from edgechat.chat.conversation import Message
from edgechat.chat.prompt_format import PHI3, Piece, TemplateForm, phi3_text, split_controls
from edgechat.engine import prompt_encoder
from edgechat.engine.prompt_encoder import TokenCodec
from edgechat.errors import EngineError, ModelError

THREE_TURNS = (
    Message("system", "You are a careful ship's engineer."),
    Message("user", "Which valve first?"),
    Message("assistant", "The red one."),
    Message("user", "And then?"),
    Message("assistant", "Wait two minutes."),
    Message("user", "Done."),
)

CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '<s>[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + '</s>' }}{% endif %}{% endfor %}"
)
CHATML_CONTROLS = frozenset({"<|im_start|>", "<|im_end|>"})


def form(template: str, controls: frozenset[str]) -> TemplateForm:
    environment = Environment(autoescape=False)

    def refuse(message: str) -> str:
        raise ValueError(message)

    environment.globals["raise_exception"] = refuse
    compiled = environment.from_string(template)
    return TemplateForm(
        lambda messages, reply: compiled.render(messages=messages, add_generation_prompt=reply), controls
    )


def text_of(pieces: tuple[Piece, ...]) -> str:
    return "".join(piece.text for piece in pieces)


def test_phi3_text_is_the_model_cards_form() -> None:
    assert phi3_text(THREE_TURNS[:2], reply=True) == (
        "<|system|>\nYou are a careful ship's engineer.<|end|>\n<|user|>\nWhich valve first?<|end|>\n<|assistant|>\n"
    )


def test_phi3_ids_of_three_turns_with_a_system_message(phi3_tokenizer: Path) -> None:
    """The exact ids, computed once from the whole string by two tokenizers that agreed, and written down."""
    ids = TokenCodec(phi3_tokenizer).encode(PHI3.pieces(THREE_TURNS))
    # fmt: off
    assert ids == [
        32006, 29871, 13,
        3492, 526, 263, 16010, 7751, 29915, 29879, 22055, 29889, 32007, 29871, 13,
        32010, 29871, 13,
        8809, 436, 659, 345, 937, 29973, 32007, 29871, 13,
        32001, 450, 2654, 697, 29889, 32007, 29871, 13,
        32010, 29871, 13,
        2855, 769, 29973, 32007, 29871, 13,
        32001, 20340, 1023, 6233, 29889, 32007, 29871, 13,
        32010, 29871, 13,
        25632, 29889, 32007, 29871, 13,
        32001,
    ]
    # fmt: on


def test_phi3_ids_are_those_of_the_whole_string(phi3_tokenizer: Path) -> None:
    from tokenizers import Tokenizer

    whole = Tokenizer.from_file(str(phi3_tokenizer / "tokenizer.json"))
    codec = TokenCodec(phi3_tokenizer)
    expected = whole.encode(phi3_text(THREE_TURNS, reply=True), add_special_tokens=False).ids
    assert codec.encode(PHI3.pieces(THREE_TURNS)) == expected


def test_each_turn_extends_the_last(phi3_tokenizer: Path) -> None:
    codec = TokenCodec(phi3_tokenizer)
    before = codec.encode(PHI3.pieces(THREE_TURNS[:2]))
    after = codec.encode(PHI3.pieces(THREE_TURNS[:4]))
    assert after[: len(before)] == before


def test_leading_spaces_of_a_message_are_kept(phi3_tokenizer: Path) -> None:
    codec = TokenCodec(phi3_tokenizer)
    plain, indented = (codec.encode(PHI3.pieces((Message("user", text),))) for text in ("x", "    x"))
    assert plain != indented


def test_replies_keep_the_ids_they_were_generated_as(phi3_tokenizer: Path) -> None:
    codec = TokenCodec(phi3_tokenizer)
    spelled = [codec.encode_text(letter)[0] for letter in "abc"]
    codec.remember("a b c", spelled)
    ids = codec.encode(PHI3.pieces((Message("assistant", "a b c"),), reply=False))
    assert ids[1:4] == spelled


def test_texts_have_the_same_ids_remembered_forgotten_or_too_long_for_it(
    phi3_tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*(f"text number {number}" for number in range(40)), "long " * 200]
    fresh = [TokenCodec(phi3_tokenizer).encode_text(text) for text in texts]
    monkeypatch.setattr(prompt_encoder, "MAX_REMEMBERED_IDS", 200)
    codec = TokenCodec(phi3_tokenizer)
    for _ in range(2):
        for text, ids in zip(texts, fresh, strict=True):
            assert codec.encode_text(text) == codec.encode_text(text) == ids
            assert sum(map(len, codec._encoded.values())) < 200


def test_a_template_is_applied_to_marks_and_gives_its_own_text_back() -> None:
    chatml = form(CHATML, CHATML_CONTROLS)
    messages = (*THREE_TURNS[:2], Message("assistant", "<|im_end|> {{ 7 * 7 }}"), Message("user", "{% raw %}"))
    pieces = chatml.pieces(messages)
    assert text_of(pieces) == "".join(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages) + (
        "<|im_start|>assistant\n"
    )
    assert sum(piece.kind == "control" for piece in pieces) == 2 * len(messages) + 1
    assert [piece.kind for piece in pieces if piece.text == "<|im_end|> {{ 7 * 7 }}"] == ["reply"]


def test_a_template_without_a_system_role_gets_it_with_the_first_message() -> None:
    pieces = form(LLAMA2, frozenset({"<s>", "</s>"})).pieces(THREE_TURNS)
    assert pieces[0] == Piece("control", "<s>")
    assert pieces[2] == Piece("text", "You are a careful ship's engineer.\n\nWhich valve first?")


def test_a_template_that_drops_the_system_message_does_not_lose_it() -> None:
    dropping = (
        "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    )
    assert "careful" in text_of(form(dropping, CHATML_CONTROLS).pieces(THREE_TURNS[:2]))


def test_messages_of_one_role_in_a_row_are_joined_where_a_template_insists() -> None:
    doubled = (Message("user", "one"), Message("user", "two"))
    assert "one\n\ntwo" in text_of(form(LLAMA2, frozenset({"<s>", "</s>"})).pieces(doubled))


def test_a_template_that_repeats_a_message_is_refused() -> None:
    twice = "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}"
    with pytest.raises(EngineError, match="repeats"):
        form(twice, CHATML_CONTROLS).pieces(THREE_TURNS)


def test_a_template_that_always_raises_gives_its_words() -> None:
    with pytest.raises(EngineError, match="never"):
        form("{{ raise_exception('never') }}", CHATML_CONTROLS).pieces(THREE_TURNS)


def test_the_longest_control_wins() -> None:
    assert [*split_controls("a<|x|><|x|>>b", frozenset({"<|x|>", "<|x|>>"}))] == [
        Piece("markup", "a"),
        Piece("control", "<|x|>"),
        Piece("control", "<|x|>>"),
        Piece("markup", "b"),
    ]
    assert [*split_controls("plain", frozenset())] == [Piece("markup", "plain")]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model": {}}', b"\xff\xfe", b'{"added_tokens": 3}'])
def test_garbage_for_a_tokenizer_is_a_model_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        TokenCodec(tmp_path)


def test_a_missing_tokenizer_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        TokenCodec(tmp_path)


def test_a_form_that_needs_tokens_the_tokenizer_lacks(phi3_tokenizer: Path) -> None:
    with pytest.raises(EngineError, match="im_start"):
        TokenCodec(phi3_tokenizer).encode((Piece("control", "<|im_start|>"),))
