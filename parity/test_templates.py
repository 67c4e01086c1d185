"""Chats through templates in use: what the model is given is what transformers renders."""

from __future__ import annotations

import pytest
from many_texts import texts
from templates import TEMPLATES
from transformers.utils.chat_template_utils import render_jinja_template

from phitui.models.chat.template import ChatTemplate

THOUGHT = "<think>\nFirst, think.\n</think>\n\n"


def chats(text: str, with_system: bool):
    """One question; several turns; a system prompt before both; an earlier answer with its thinking."""
    system = {"role": "system", "content": f" Be brief. {text[:20]}\n"}
    question = {"role": "user", "content": text}
    turns = [question, {"role": "assistant", "content": text[::-1]}, {"role": "user", "content": f" {text}\n"}]
    yield [question]
    yield turns
    yield [question, {"role": "assistant", "content": THOUGHT + text}, question]
    if with_system:
        yield [system, question]
        yield [system, *turns]


@pytest.mark.parametrize("name", TEMPLATES)
def test_as_transformers_renders_it(name, figures):
    published = TEMPLATES[name]
    ours = ChatTemplate(published.text, published.special)
    assert ours.takes_system == published.system
    count = 0
    for text in texts():
        for chat in chats(text, published.system):
            theirs, _ = render_jinja_template(
                conversations=[chat], chat_template=published.text, add_generation_prompt=True, **published.special
            )
            assert ours.render(chat) == theirs[0]
            count += 1
    figures("templates", name, {"texts": len(texts()), "chats_equal": count})


@pytest.mark.parametrize("name", [name for name, published in TEMPLATES.items() if not published.system])
def test_a_system_prompt_where_there_is_none(name):
    published = TEMPLATES[name]
    ours = ChatTemplate(published.text, published.special)
    for text in texts():
        chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        assert ours.render(chat) == ours.render([{"role": "user", "content": f"Be brief.\n\n{text}"}])
