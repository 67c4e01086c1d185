"""A chat as the text of one prompt, for a server that applies no chat template. Pure.

Which form it is goes by the model's name: Phi-3's own (the model cards of microsoft/Phi-3-mini-4k-instruct: "Chat
Format"), else plain names before each turn. The beginning-of-text token is the server's tokenizer's to add.
"""

from __future__ import annotations

import re

from phitui.engine.protocol.api import Turn

_PHI3 = re.compile(r"phi[-_]?3(?!\d)", re.IGNORECASE)
_PHI3_END = "<|end|>"
# Where the server's tokenizer would find a control token of Phi-3's in a text.
_PHI3_CONTROL = re.compile(r"<(?=\|[^<>|\s]{1,40}\|>|/?s>|unk>)")


def is_phi3(model: str) -> bool:
    """Whether the model's name says that it is a Phi-3."""
    return _PHI3.search(model) is not None


def form_of(model: str) -> str:
    """The form's name, for a person."""
    return "Phi-3's chat template" if is_phi3(model) else "plain user:/assistant: turns"


def prompt_of(model: str, turns: list[Turn]) -> str:
    """The text up to where the answer begins.

    In Phi-3's form control tokens come from the form alone: in a content a space stands in them, as nothing else keeps
    a server from reading them as such. In the plain form, which has none, contents go as they are.
    """
    if is_phi3(model):
        contents = [_PHI3_CONTROL.sub("< ", turn.content) for turn in turns]
        said = zip(turns, contents, strict=True)
        return "".join(f"<|{turn.role}|>\n{content}{_PHI3_END}\n" for turn, content in said) + "<|assistant|>\n"
    return "".join(f"{turn.role}: {turn.content}\n" for turn in turns) + "assistant:"


def ends_of(model: str) -> tuple[str, ...]:
    """What ends an answer beside the model's own end token: a turn's end in Phi-3, which not every server takes for an
    end token; else the beginning of the next turn, which a model would write as well."""
    return (_PHI3_END,) if is_phi3(model) else ("\nuser:",)
