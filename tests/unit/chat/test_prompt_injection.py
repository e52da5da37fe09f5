"""Whatever is typed stays text: both prompt forms, with the real tokenizers, over arbitrary Unicode.

No weights are needed: a tokenizer alone says what a model would be given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgechat.chat.conversation import Message
from edgechat.chat.prompt_format import PromptForm
from edgechat.chat.sanitize import storable
from edgechat.engine.prompt_encoder import TokenCodec
from edgechat.engine.shared import choose_form


@dataclass(frozen=True)
class Spoken:
    """What a model is spoken to with.

    Attributes:
        codec: Its tokenizer.
        form: The form that is chosen for it.
        end: The name of the token that ends a message.
        same: What is left of a text that its vocabulary cannot tell from others.
    """

    codec: TokenCodec
    form: PromptForm
    end: str
    same: Callable[[str], str]

    def ids(self, *messages: Message, reply: bool = True) -> list[int]:
        return self.codec.encode(self.form.pieces(messages, reply=reply))

    def controls(self, *messages: Message) -> list[int]:
        """The ids of the form's own control tokens, in order."""
        return [self.codec.control_ids[piece.text] for piece in self.form.pieces(messages) if piece.kind == "control"]


_UNSPELLED = re.compile("[\x04\x06\x13\x14\x16\x1d\U00040000-\U000bffff]")


@pytest.fixture(scope="module", params=["phi3", "default"])
def spoken(request: pytest.FixtureRequest) -> Spoken:
    """Phi-3's own form with the real Phi-3 tokenizer, and the chat template of the default model with its own."""
    import onnxruntime_genai

    if request.param == "phi3":
        codec = TokenCodec(request.getfixturevalue("phi3_tokenizer"))

        def silent(messages: list[dict[str, str]], reply: bool) -> str:
            return ""

        form = choose_form(silent, codec.controls)
        assert form.name == "phi3"
        # SentencePiece writes a space as U+2581, and so reads that as a space.
        return Spoken(codec, form, "<|end|>", lambda text: text.replace("\u2581", " "))
    folder: Path = request.getfixturevalue("default_genai")
    tokenizer: Any = onnxruntime_genai.Tokenizer(str(folder))
    codec = TokenCodec(folder)

    def render(messages: list[dict[str, str]], reply: bool) -> str:
        return str(tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=reply))

    form = choose_form(render, codec.controls)
    assert form.name == "chatml"
    # Its vocabulary was made without some bytes: no token spells these controls, nor the planes 4 to 11, where Unicode
    # has no characters.
    return Spoken(codec, form, "<|im_end|>", lambda text: _UNSPELLED.sub("", text))


PIECES = [
    *("<|end|>", "<|user|>\n", "<|im_start|>system\n", "<|im_end|>", "<s>", "</s>", "<|endoftext|>", "<|assistant|>"),
    *(" ", "\n", "<|", "|>", "<0x41>", "\u2581", "\u200b", "{{ 7 * 7 }}", "\ue0000\ue001", "👩\u200d🚀", "e\u0301"),
]
TYPED = st.lists(st.text(st.characters(codec=None), max_size=20) | st.sampled_from(PIECES), max_size=5).map(
    lambda parts: storable("".join(parts))[0]
)

arbitrary = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@arbitrary
@given(system=TYPED, first=TYPED, reply=TYPED, second=TYPED)
def test_no_control_token_comes_from_text(spoken: Spoken, system: str, first: str, reply: str, second: str) -> None:
    messages = (Message("system", system), Message("user", first), Message("assistant", reply), Message("user", second))
    every = set(spoken.codec.control_ids.values())
    assert [token for token in spoken.ids(*messages) if token in every] == spoken.controls(*messages)
    # The form's own tokens are as many whatever is typed.
    plain = tuple(Message(message.role, "x") for message in messages)
    assert spoken.controls(*messages) == spoken.controls(*plain)


@arbitrary
@given(text=TYPED)
def test_ids_decode_back_to_the_text(spoken: Spoken, text: str) -> None:
    decode = spoken.codec.decoder()
    back = "".join(decode(token) for token in spoken.codec.encode_text(spoken.same(text)))
    # The decoder of a stream takes a replacement character at the end for half of one that is still to come.
    assert back.rstrip("\ufffd") == spoken.same(text).rstrip("\ufffd")


@arbitrary
@given(first=TYPED, reply=TYPED, second=TYPED, system=TYPED)
def test_the_next_turns_ids_extend_the_last_turns(
    spoken: Spoken, system: str, first: str, reply: str, second: str
) -> None:
    asked = (Message("system", system), Message("user", first))
    before = spoken.ids(*asked)
    written = spoken.codec.encode_text(reply)
    spoken.codec.remember(reply, written)
    after = spoken.ids(*asked, Message("assistant", reply), Message("user", second))
    held = [*before, *written, spoken.codec.control_ids[spoken.end]]
    assert after[: len(held)] == held
