"""Chat templates."""

from __future__ import annotations

import ctypes
import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import fixture_path

import ivg
from ivg import _bindings as c
from ivg._library import lib

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
    # A template's own last newline goes, but no other one.
    assert render("{{ messages[0].content }}\n") == "Be kind."
    assert render("{{ messages[0].content }}\n\n") == "Be kind.\n"
    assert render("{{ 'x\n' }}") == "x\n"
    assert render("{% generation %}{% set x = 1 %}{{ messages[0].content }}{% endgeneration %}|{{ x }}") == "Be kind.|"
    assert render("{{ {'b': 1, 'a': [2]} | tojson(sort_keys=true, separators=(',', ':')) }}") == '{"a":[2],"b":1}'
    assert render("{{ tools is none and documents is none }}") == "True"
    with pytest.raises(ivg.InvalidArgumentError, match="only users may speak"):
        render("{{ raise_exception('only users may speak') }}")
    with pytest.raises(ivg.InvalidArgumentError, match="the chat template failed"):
        render("{% if %}")
    for wrong in ("{{ 'a' + none }}", "{{ 1 // 0 }}", "{{ 'x'.index('y') }}", "{{ '%d' % 'x' }}"):
        with pytest.raises(ivg.InvalidArgumentError, match="the chat template failed"):
            render(wrong)


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


def render_in_c(model: ivg.Model, source: str | None, messages: list[dict[str, str]], generation: bool) -> str | None:
    """What the library itself writes, which runs no Jinja; None if the template refuses the messages."""
    contents = [ctypes.create_string_buffer(message["content"].encode()) for message in messages]
    array = (c.ivg_chat_message * len(messages))()
    for entry, message, content in zip(array, messages, contents, strict=True):
        entry.role = message["role"].encode()
        entry.content = ctypes.cast(content, ctypes.POINTER(ctypes.c_char))
        entry.content_length = len(content) - 1
    text = None if source is None else source.encode()
    buffer = ctypes.create_string_buffer(1 << 14)
    needed = ctypes.c_size_t()
    error = ctypes.POINTER(c.ivg_error)()
    status = lib.ivg_model_render_chat(
        model._handle,
        text,
        0 if text is None else len(text),
        array,
        len(messages),
        c.IVG_CHAT_GENERATION_PROMPT if generation else 0,
        buffer,
        len(buffer),
        ctypes.byref(needed),
        ctypes.byref(error),
    )
    if status == c.IVG_ERROR_INVALID_ARGUMENT:
        lib.ivg_error_free(error)
        return None
    assert status == c.IVG_OK
    return buffer.raw[: needed.value].decode()


@pytest.mark.parametrize("name", ["tiny-llama.gguf", "tiny-qwen2.gguf"])
def test_the_library_writes_what_jinja_writes(name: str) -> None:
    cases = json.loads(fixture_path("chat-templates.json").read_text())["known"]
    with ivg.Model(fixture_path(name), threads=1) as model:
        for case in cases[0]["cases"]:
            messages, generation = case["messages"], case["generation"]
            expected = model.render_chat(messages, add_generation_prompt=generation)
            assert render_in_c(model, None, messages, generation) == expected
        for entry in cases:
            if entry["name"] == "llama-3.2":
                continue  # asks for the date, which the library leaves at what the template names
            for case in entry["cases"][::3]:
                messages, generation = case["messages"], case["generation"]
                try:
                    wanted: str | None = model.render_chat(messages, entry["source"], add_generation_prompt=generation)
                except ivg.InvalidArgumentError:
                    wanted = None
                assert render_in_c(model, entry["source"], messages, generation) == wanted, entry["name"]


def test_parts_of_texts() -> None:
    with ivg.Model(fixture_path("tiny-sentencepiece.gguf")) as model:
        first = model.tokenize("the value", begin=False)
        rest = model.tokenize("the value", begin=False, continues=True)
        assert first != rest
        assert model.detokenize(first) == "the value" == model.detokenize(rest, continues=True)
        assert model.detokenize(first, continues=True) == " the value"
        assert model.tokenize("<s>the value") == model.tokenize("the value")
