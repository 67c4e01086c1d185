"""From a chat to the tokens of a prompt, and from tokens back to text as they come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tokenizers.decoders import DecodeStream

from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import read_small
from phitui.engine.protocol.api import Turn
from phitui.models.chat.prompt import prompt_ids
from phitui.models.chat.template_messages import Message
from phitui.models.chat.template_process import TemplateProcess
from phitui.models.chat.tokenizer import ChatTokenizer
from phitui.models.manifest import MOST_TOKENIZER_BYTES, Manifest

# What probes read: any text does, the time of a step does not depend on it.
_PLAIN = (
    "A decode step reads every weight of the model once, whatever the number of rows, and the keys and values of all "
    "the tokens that came before. So more rows share the cost of the weights, until the arithmetic or the cache of the "
    "rows takes longer than the weights do. Where that is depends on the card, on the model and on the length of the "
    "texts, and it is quicker to measure it than to argue about it."
)


class ChatPrompt:
    """A model's own chat template and tokenizer."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Read both from a model folder. Raises PhituiError where one is damaged."""
        path = folder / "tokenizer.json"
        self._template = TemplateProcess(manifest.chat_template, manifest.special_tokens)  # starts while we read
        try:
            self._tokenizer = ChatTokenizer(
                read_small(path, MOST_TOKENIZER_BYTES), {*manifest.end_tokens, *manifest.special_tokens.values()}
            )
        except OSError as error:
            raise PhituiError(f"cannot read {path}: {error.strerror}") from error
        except PhituiError as error:
            raise PhituiError(f"{path}: {error.message}", error.fix) from error
        self._vocabulary = folder / "vocabulary.json"
        try:
            self._template.compile()
        except PhituiError as error:
            raise PhituiError(f"{error.message} ({manifest.name})", error.fix) from error
        ids = (self._tokenizer.number(token) for token in manifest.end_tokens)
        self.end_ids = frozenset(number for number in ids if number is not None)
        if not self.end_ids or manifest.context_window < 1:
            raise PhituiError(f"the manifest of {manifest.name} names no end token of its vocabulary, or no context")

    @cached_property
    def note(self) -> str:
        """What a user should know of the chats; "" where there is nothing."""
        if self._template.takes_system:
            return ""
        return "the chat template has no place for a system prompt: it is sent before the first question"

    def render(self, turns: list[Turn]) -> str:
        """The text that the model sees, up to where its answer begins. Raises UsageError where the template
        refuses the turns."""
        return self._template.render(_messages(turns))

    def ids(self, turns: list[Turn]) -> list[int]:
        """The prompt as token ids: contents as text, the template's control tokens as such. Raises as `render` does."""
        return prompt_ids(self._template, self._tokenizer, _messages(turns))

    def tokens(self, turns: list[Turn]) -> list[str]:
        """The prompt as the token strings that CTranslate2 takes. Raises UsageError where there are none."""
        tokens = [self._tokenizer.token(number) for number in self.ids(turns)]
        if not tokens:
            raise UsageError("the model's chat template makes no text of this chat", "Convert the model again")
        return [token for token in tokens if token is not None]

    def text_ids(self, text: str) -> list[int]:
        """A text alone as token ids."""
        return self._tokenizer.encode(text)

    def count(self, text: str) -> int:
        """How many tokens a text alone is."""
        return len(self.text_ids(text))

    @cached_property
    def _names(self) -> list[str]:
        """CTranslate2's vocabulary, by id: it has tokens that no tokenizer has, where a model rounds its number up."""
        try:
            names: list[str] = json.loads(read_small(self._vocabulary, MOST_TOKENIZER_BYTES))
        except (OSError, ValueError, RecursionError) as error:
            raise PhituiError(f"cannot read {self._vocabulary}: {error}") from error
        return names

    def names(self, ids: Sequence[int]) -> list[str]:
        """Token ids as the strings that CTranslate2 takes. Raises UsageError for an id that there is not."""
        if ids and not 0 <= min(ids) <= max(ids) < len(self._names):
            raise UsageError(f"token ids of another model: this one has 0 to {len(self._names) - 1}")
        return [self._names[number] for number in ids]

    def text(self, ids: Sequence[int]) -> str:
        """The text of a whole answer, with U+FFFD for bytes that are no character."""
        return self._tokenizer.decode(ids)

    def ordinary(self, rows: int, count: int) -> list[list[str]]:
        """`rows` prompts of `count` tokens of plain text each, no two alike as far as the text reaches: for probes."""
        ids = self._tokenizer.encode(_PLAIN)
        words = [token for number in ids if (token := self._tokenizer.token(number)) is not None]
        if not words:
            raise PhituiError("the model's tokenizer makes no tokens of plain text", "Convert the model again")
        length = len(words)
        return [[words[(7 * row + place) % length] for place in range(count)] for row in range(rows)]

    def detokenizer(self) -> Detokenizer:
        """A fresh one for a new answer."""
        return Detokenizer(self._tokenizer)


class Detokenizer:
    """Text from token ids as they come; a character that is spread over tokens waits until it is whole."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._sent = ""

    def feed(self, token_id: int) -> str:
        """The text that this token completes, often one word, sometimes nothing."""
        self._ids.append(token_id)
        try:
            text = self._tokenizer.step(self._stream, token_id)
        except PhituiError:
            # Vocabularies with single bytes, as Phi-3's: bytes that turn out to be no character change what had
            # been sent already. It stands; the stream begins anew with this token.
            self._stream = DecodeStream(skip_special_tokens=True)
            text = self._tokenizer.step(self._stream, token_id)
        self._sent += text
        return text

    def flush(self) -> str:
        """What is left at the end of the answer, with U+FFFD for bytes that never became a character."""
        whole = self._tokenizer.decode(self._ids)
        return whole[len(self._sent) :] if whole.startswith(self._sent) else ""


def _messages(turns: list[Turn]) -> list[Message]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]
