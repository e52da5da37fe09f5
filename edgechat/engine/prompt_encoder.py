"""Encodes the pieces of a prompt as token ids; the only place where text becomes ids.

It uses the Hugging Face `tokenizers` library rather than onnxruntime-genai's encoder, because only the former can treat
all text as plain text: the genai encoder turns a typed `<|end|>` into the control token. Ordinary text gets the same
    ids.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import DecodeStream

from edgechat.chat.prompt_format import Piece
from edgechat.engine.protocol import PromptPart
from edgechat.errors import EngineError, ModelError, is_panic
from edgechat.i18n.sentence import Sentence

MAX_REMEMBERED_REPLIES = 4096
"""Number of replies whose ids are remembered; a few megabytes at most."""

MAX_REMEMBERED_IDS = 200_000
"""Ids of cached texts, a few megabytes: a chat is encoded for every message, but only its end is new."""

_ENTRY = 16
"""Overhead of a cached text beyond its ids, counted in ids."""


class TokenCodec:
    """Encodes pieces with a model's tokenizer.json.

    Attributes:
        control_ids: Control tokens by name, with the single id of each.
        controls: The names alone.
        prepends_space: Whether the tokenizer puts a space before text, as SentencePiece does; a reply then starts with
            one.
    """

    def __init__(self, folder: Path) -> None:
        """Read `tokenizer.json` of a folder.

        Raises:
            ModelError: The file is missing or is not a tokenizer.
        """
        path = folder / "tokenizer.json"
        try:
            # Read here to report the cause: the library raises the same bare Exception for everything.
            self._tokenizer = Tokenizer.from_buffer(path.read_bytes())
        except OSError as error:
            raise ModelError(
                "Tokenizer cannot be read",
                Sentence("{path}: {strerror}.", path=path, strerror=error.strerror or error),
                _HINT,
            ) from error
        except Exception as error:
            raise ModelError(
                "Tokenizer is damaged", Sentence("{path}: {short}.", path=path, short=_short(error)), _HINT
            ) from error
        added: dict[int, AddedToken] = self._tokenizer.get_added_tokens_decoder()
        # Treat every added token as special when encoding text, including those the file does not mark as such (Phi-3's
        # `</s>`, tool-call tags elsewhere): none of them may come from typed text.
        self._tokenizer.add_special_tokens(
            [
                AddedToken(
                    token.content,
                    single_word=token.single_word,
                    lstrip=token.lstrip,
                    rstrip=token.rstrip,
                    normalized=token.normalized,
                    special=True,
                )
                for token in added.values()
                if not token.special
            ]
        )
        # Padding and truncation settings in the file are for training; padding to 2^31 ids would be taken literally.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.control_ids = {token.content: number for number, token in added.items()}
        self._strips = frozenset(token.content for token in added.values() if token.rstrip)
        self._tokenizer.encode_special_tokens = True
        self.controls = frozenset(self.control_ids)
        self._reserved = frozenset(self.control_ids.values())
        self._replies: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._encoded: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._encoded_ids = 0
        ids = self._ids_of("a")
        self.prepends_space = bool(ids) and str(self._tokenizer.id_to_token(ids[0])).startswith("\u2581")

    @property
    def vocabulary(self) -> int:
        """Number of ids, added tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Encode text, taking every character literally.

        Raises:
            EngineError: The tokenizer failed, or a control id came out anyway; sending it would let the text steer the
                model.
        """
        ids = self._encoded.get(text)
        if ids is None:
            ids = self._ids_of(text)
            if not self._reserved.isdisjoint(ids):
                raise EngineError("Text was taken for a control token", "This tokenizer cannot keep the two apart.")
            if len(ids) < MAX_REMEMBERED_IDS // 2:
                self._encoded[text] = ids
                self._encoded_ids += len(ids) + _ENTRY
            while self._encoded_ids > MAX_REMEMBERED_IDS:
                self._encoded_ids -= len(self._encoded.popitem(last=False)[1]) + _ENTRY
        else:
            self._encoded.move_to_end(text)
        return ids

    def _ids_of(self, text: str) -> tuple[int, ...]:
        try:
            return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            raise EngineError(
                "The tokenizer failed",
                Sentence("A text could not be turned into tokens: {short}.", short=_short(error)),
                "It is the model's own; use another model, or send another text.",
            ) from error

    def decoder(self) -> Callable[[int], str]:
        """Return a decoder for one reply: it maps each id to the characters it completes, omitting control tokens.

        It returns "" while a character is incomplete.
        """
        stream = DecodeStream(skip_special_tokens=True)
        return lambda token: stream.step(self._tokenizer, token) or ""

    def remember(self, reply: str, ids: Sequence[int]) -> None:
        """Remember the ids a reply was generated with.

        A model may tokenize a text differently from the encoder; reusing its own ids lets the next prompt extend what
        is already cached.
        """
        self._replies[reply] = tuple(ids)
        self._replies.move_to_end(reply)
        while len(self._replies) > MAX_REMEMBERED_REPLIES:
            self._replies.popitem(last=False)

    def reply_ids(self, reply: str) -> tuple[int, ...]:
        """Return the ids of a reply: those it was generated with if remembered, else encoded."""
        return self._replies.get(reply) or self.encode_text(reply) if reply else ()

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the ids of a prompt; see `parts`."""
        return [token for part in self.parts(pieces) for token in part.ids]

    def parts(self, pieces: Sequence[Piece]) -> Iterator[PromptPart]:
        """Yield the parts of a prompt that are encoded separately.

        Markup and text between two control tokens are encoded together, as they would be in the whole string; a reply
        is encoded on its own, as it was generated.

        Raises:
            EngineError: The tokenizer lacks a control token of the format.
        """
        run = ""
        strip = False
        for piece in pieces:
            if piece.kind == "markup":
                run += piece.text.lstrip() if strip and not run else piece.text
                continue
            if piece.kind == "text":
                run += piece.text
                strip = False
                continue
            if run:
                yield PromptPart("text", run, self.encode_text(run))
                run = ""
            if piece.kind == "reply":
                strip = False
                yield PromptPart("reply", piece.text, self.reply_ids(piece.text))
            else:
                try:
                    yield PromptPart("control", piece.text, (self.control_ids[piece.text],))
                except KeyError:
                    raise EngineError(
                        "Prompt form and tokenizer do not fit",
                        Sentence("The tokenizer has no token {text}.", text=piece.text),
                    ) from None
                strip = piece.text in self._strips
        if run:
            yield PromptPart("text", run, self.encode_text(run))


_HINT = "Copy the model again from its source; `edgechat models verify` shows what differs."


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
