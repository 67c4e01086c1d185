"""The files that go with the next prompt, one line each."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from phitui.tui.terminal.display import displayable
from phitui.workbench.chat.attachments import Attachment


class AttachmentLine(Static):
    """Above the prompt while there is a file."""

    DEFAULT_CSS = """
    AttachmentLine { display: none; height: auto; max-height: 5; padding: 0 2; color: $text-accent; }
    """

    def __init__(self) -> None:
        super().__init__("", id="attachments", markup=False)

    def show(self, attachments: Sequence[Attachment], key: str) -> None:
        """`key` removes the last of them."""
        self.display = bool(attachments)
        lines = [displayable(described(one)) for one in attachments]
        if lines and key:
            lines[-1] += f" · {key} removes it"
        self.update(Content("\n".join(lines)))


def described(attachment: Attachment) -> str:
    """Its name, size and tokens."""
    size = attachment.size_bytes
    told = f"{size:,} bytes" if size < 10_000 else f"{size / 1000:,.1f} kB"
    if attachment.tokens is not None and attachment.exact:
        tokens = f"{attachment.tokens:,} tokens"
    elif attachment.tokens is not None:
        tokens = f"≈ {attachment.tokens:,} tokens (bytes / 4: the engine does not count)"
    else:
        tokens = f"– tokens ({attachment.trouble or 'counting…'})"
    return f"+ {attachment.name} · {told} · {tokens}"
