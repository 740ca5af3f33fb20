"""Chat templates."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import fixture_path

import ivg

MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello <b> & é"}]


def test_the_template_of_the_file(tiny: ivg.Model) -> None:
    expected = (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello <b> & é<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tiny.render_chat(MESSAGES) == expected
    assert tiny.render_chat(MESSAGES, add_generation_prompt=False) == expected.removesuffix("<|im_start|>assistant\n")
    answer = tiny.chat(MESSAGES, max_tokens=6, seed=1)
    assert answer.text == tiny.generate(expected, max_tokens=6, seed=1).text
    with tiny.stream_chat(MESSAGES, max_tokens=6, seed=1) as stream:
        assert "".join(step.text for step in stream) == answer.text


def test_what_a_template_can_use(tiny: ivg.Model) -> None:
    def render(template: str, **variables: Any) -> str:
        return tiny.render_chat(MESSAGES, template, **variables)

    assert render("{{ bos_token }}|{{ eos_token }}") == "<|im_start|>|<|im_end|>"
    assert render("{{ strftime_now('%Y') }}") == str(datetime.datetime.now().year)
    assert render("{{ messages[1].content | tojson }}") == '"Hello <b> & é"'
    assert render("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}x{% endfor %}") == "x"
    assert render("{{ tools[0].name }}", tools=[{"name": "search"}]) == "search"
    assert render("  {% if true %}\nx\n  {% endif %}\n") == "x\n"
    with pytest.raises(ivg.InvalidArgumentError, match="only users may speak"):
        render("{{ raise_exception('only users may speak') }}")
    with pytest.raises(ivg.InvalidArgumentError, match="the chat template failed"):
        render("{% if %}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
    ],
)
def test_templates_stay_in_their_sandbox(tiny: ivg.Model, template: str) -> None:
    with pytest.raises(ivg.InvalidArgumentError, match="the chat template failed"):
        tiny.render_chat(MESSAGES, template)


def test_no_template(tmp_path: Path) -> None:
    path = tmp_path / "plain.gguf"
    data = fixture_path("tiny-llama.gguf").read_bytes()
    path.write_bytes(data.replace(b"tokenizer.chat_template", b"tokenizer.chat_umbrella"))
    with (
        ivg.Model(path) as model,
        pytest.raises(ivg.InvalidArgumentError, match=r"plain\.gguf has no chat template"),
    ):
        model.chat(MESSAGES)


def test_begin_token_comes_once(tiny: ivg.Model) -> None:
    text = tiny.render_chat(MESSAGES, "{{ bos_token }}{{ messages[0].content }}")
    begins = tiny.tokenize(text).count(1)
    assert begins == 1
