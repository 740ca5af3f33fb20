"""Conversations with nudging: each side reads the messages in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import fixture_path

import ivg
from ivg._conversation import nudged_conversation

MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi {prompt}"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": [{"type": "text", "text": "The film "}, {"type": "text", "text": "was"}]},
]
LINES = "Be kind.\nHi {prompt}\nYes?\nThe film was"
SIMPLE = [MESSAGES[0], {"role": "user", "content": "Hi {prompt}"}]
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}{% endfor %}"
)
SILENT = "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ivg.Model]:
    """`tiny` without a chat template: a base model."""
    path = tmp_path_factory.mktemp("plain") / "plain.gguf"
    data = fixture_path("tiny-llama.gguf").read_bytes()
    path.write_bytes(data.replace(b"tokenizer.chat_template", b"tokenizer.chat_umbrella"))
    with ivg.Model(path, threads=1) as model:
        assert model.info.chat_template is None
        yield model


@pytest.fixture(scope="module")
def foreign() -> Iterator[ivg.Model]:
    """A model with another vocabulary."""
    with ivg.Model(fixture_path("tiny-other-vocabulary.gguf"), threads=1) as model:
        yield model


def test_each_side_reads_by_its_own_template(plain: ivg.Model, tiny: ivg.Model, foreign: ivg.Model) -> None:
    """And text of a message that looks like a template's mark stays as it is."""
    for base, nudger in ((plain, tiny), (tiny, foreign), (tiny, plain)):
        guidance = ivg.Guidance(nudging=ivg.Nudging(nudger, threshold=0.05))
        around, nudging = nudged_conversation(base, SIMPLE, None, ivg.Nudging(nudger, threshold=0.05))
        texts = {
            model: "Be kind.\nHi {prompt}\n" if model is plain else model.render_chat(SIMPLE)
            for model in (base, nudger)
        }
        assert (around, nudging.nudger_template) == (texts[base], texts[nudger])
        # Through `generate`, where the mark is the question.
        marked = {model: text.replace("Hi {prompt}", "{prompt}") for model, text in texts.items()}
        expected = base.generate(
            "Hi {prompt}",
            guidance=ivg.Guidance(nudging=ivg.Nudging(nudger, threshold=0.05, nudger_template=marked[nudger])),
            template=marked[base],
            max_tokens=24,
        )
        found = base.chat(SIMPLE, guidance=guidance, max_tokens=24)
        assert (found.text, found.nudges, found.prompt_token_count) == (
            expected.text,
            expected.nudges,
            expected.prompt_token_count,
        )
        assert found.nudges
        steps = list(base.session().stream_chat(SIMPLE, guidance=guidance, max_tokens=24))
        assert "".join(step.text for step in steps).startswith(found.text)


@pytest.mark.parametrize(
    ("options", "source", "base", "nudger"),
    [
        ({}, None, LINES + "\n", None),
        ({"base_system": "Be rude."}, None, LINES.replace("kind", "rude") + "\n", None),
        ({"base_template": "<{prompt}>", "nudger_template": "Q {prompt} A"}, None, f"<{LINES}>", f"Q {LINES} A"),
        ({"base_template": "<{prompt}>"}, SILENT, "[user]Be kind.\nHi {prompt}[assistant]Yes?[user]The film was", None),
        ({}, NO_SYSTEM, "[user]Be kind.\nHi {prompt}[assistant]Yes?[user]The film was", None),
    ],
)
def test_what_each_side_reads(
    plain: ivg.Model,
    tiny: ivg.Model,
    options: dict[str, Any],
    source: str | None,
    base: str,
    nudger: str | None,
) -> None:
    messages = [*MESSAGES[:3], {"role": "user", "content": "The film was"}] if nudger is None else MESSAGES
    found, nudging = nudged_conversation(plain, messages, source, ivg.Nudging(tiny, **options))
    assert found == base
    assert nudging.nudger_template == (tiny.render_chat(messages) if nudger is None else nudger)


def test_a_system_text_for_the_nudger(plain: ivg.Model, tiny: ivg.Model, adapter: ivg.Adapter) -> None:
    """In place of the conversation's, or where there is none."""
    question = {"role": "user", "content": "Hello"}
    expected = tiny.render_chat([{"role": "system", "content": "Be rude."}, question])
    for messages in ([question], [MESSAGES[0], question]):
        nudger = ivg.Nudging(adapter, nudger_system="Be rude.")
        around, nudging = nudged_conversation(plain, messages, None, nudger)
        assert nudging.nudger_template == expected
        assert around == "".join(f"{message['content']}\n" for message in messages)


def test_what_is_no_conversation(plain: ivg.Model, tiny: ivg.Model) -> None:
    guidance = ivg.Guidance(nudging=ivg.Nudging(tiny, nudger_template="{prompt}"))
    with pytest.raises(ivg.InvalidArgumentError, match="at least one message"):
        plain.chat([], guidance=guidance)
    for content in (None, [{"type": "image"}], 3):
        with pytest.raises(ivg.InvalidArgumentError, match="a message of the user has content that is no text"):
            plain.chat([{"role": "user", "content": content}], guidance=guidance)
    with pytest.raises(ivg.InvalidArgumentError, match="has no chat template"):
        plain.chat(SIMPLE)
    with pytest.raises(ivg.InvalidArgumentError, match="only users"):
        plain.chat(SIMPLE, "{{ raise_exception('only users') }}", guidance=guidance)
