# SPDX-License-Identifier: Apache-2.0
"""The plugin, through llm's own Python interface and command line. `pytest` in this folder; needs ivg and llm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ivg
import llm
import pytest
from click.testing import CliRunner, Result
from llm.cli import cli

from llm_ivg._config import read_entries
from llm_ivg._loaded import load

FIXTURES = Path(__file__).resolve().parents[3] / "Tests" / "Fixtures"
TINY = FIXTURES / "tiny-llama.gguf"
MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of llm's own for each test."""
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))


@pytest.fixture(scope="module")
def tiny() -> Iterator[ivg.Model]:
    with ivg.Model(TINY) as model:
        yield model


def run(*arguments: object, fails: bool = False) -> Result:
    """Runs a command of llm's."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert (result.exit_code != 0) == fails, result.output
    return result


def details(response: llm.Response) -> dict[str, Any]:
    """What the plugin reports of an answer, beside its text."""
    found = response.json()
    assert found is not None
    return found


def add(name: str, *arguments: object) -> None:
    run("ivg", "add", name, TINY, *arguments)


def test_adding_listing_removing(tmp_path: Path) -> None:
    assert "No models" in run("ivg", "list").output
    result = run("ivg", "add", "small", TINY, "--tuned", FIXTURES / "tiny-adapter.gguf", "--alias", "s", "--threads", 1)
    assert result.output.startswith("Added small: llama")
    listed = run("ivg", "list").output.splitlines()
    assert listed == ["small, s", f"  path: {TINY}", f"  tuned: {FIXTURES / 'tiny-adapter.gguf'}", "  threads: 1"]
    assert "small (aliases: s)" in run("models").output
    assert "there is a model small already" in run("ivg", "add", "small", TINY, fails=True).output
    add("small", "--replace")
    assert "tuned" not in run("ivg", "list").output
    assert "no model other: small" in run("ivg", "remove", "other", fails=True).output
    run("ivg", "remove", "small")
    assert json.loads((tmp_path / "ivg-models.json").read_text()) == {}
    assert TINY.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "/no/such/file.gguf"], "does not exist"),
        (["x", TINY, "--tuned", FIXTURES / "tiny-value-scalar.gguf"], "tiny-value-scalar.gguf"),
        (["x", TINY, "--value-head", FIXTURES / "tiny-adapter.gguf"], "tiny-adapter.gguf"),
        (["x", FIXTURES / "tiny-adapter.gguf"], "tiny-adapter.gguf"),
        (["x", FIXTURES / "README.md"], "README.md"),
        (["x", TINY, "--value-model", TINY], "belongs to --value-head"),
        ([" ", TINY], "a name is needed"),
    ],
)
def test_files_that_do_not_fit_are_not_added(arguments: list[object], message: str) -> None:
    assert message in run("ivg", "add", *arguments, fails=True).output
    assert "No models" in run("ivg", "list").output


def test_a_prompt_on_the_command_line(tiny: ivg.Model) -> None:
    add("small")
    expected = tiny.chat(MESSAGES, max_tokens=12, seed=1).text
    options = ["-o", "max_tokens", 12, "-o", "seed", 1]
    assert run("-m", "small", *options, "Hello").output == expected + "\n"
    assert run("-m", "small", *options, "--no-stream", "Hello").output == expected + "\n"
    logged = json.loads(run("logs", "--json", "-n", 1).output)[0]
    assert logged["response"] == expected
    assert logged["response_json"]["seed"] == 1
    assert logged["response_json"]["finish_reason"] in ("length", "end")
    assert logged["input_tokens"] > 0
    assert logged["output_tokens"] == 12


def test_streaming(tiny: ivg.Model) -> None:
    add("small")
    response = llm.get_model("small").prompt("Hello", max_tokens=12, seed=1)
    parts = list(response)
    assert len(parts) > 1
    expected = tiny.chat(MESSAGES, max_tokens=12, seed=1)
    assert "".join(parts) == response.text() == expected.text
    assert response.usage().input == expected.prompt_token_count
    assert details(response)["candidates"] == [{"text": expected.text, "score": 0.0}]


def test_a_conversation_is_rendered_by_the_chat_template(tiny: ivg.Model) -> None:
    add("small")
    conversation = llm.get_model("small").conversation()
    first = conversation.prompt("Hello", system="Be brief.", max_tokens=8, seed=1).text()
    second = conversation.prompt("And now?", max_tokens=8, seed=1).text()
    messages = [{"role": "system", "content": "Be brief."}, *MESSAGES]
    assert first == tiny.chat(messages, max_tokens=8, seed=1).text
    messages += [{"role": "assistant", "content": first}, {"role": "user", "content": "And now?"}]
    assert second == tiny.chat(messages, max_tokens=8, seed=1).text


def test_a_raw_model_reads_the_prompt_as_it_is(tiny: ivg.Model) -> None:
    add("raw", "--raw")
    found = llm.get_model("raw").prompt("Hello", max_tokens=8, seed=1).text()
    assert found == tiny.generate("Hello", max_tokens=8, seed=1).text


def test_guides(tiny: ivg.Model) -> None:
    adapter = FIXTURES / "tiny-adapter.gguf"
    head = FIXTURES / "tiny-value-scalar.gguf"
    add("guided", "--tuned", adapter, "--value-head", head)
    model = llm.get_model("guided")
    found = model.prompt("Hello", max_tokens=9, seed=1, width=2, successors=2, chunk=3, weight=0.5)
    guidance = ivg.Guidance(
        implicit=ivg.Implicit(tuned=tiny.adapter(adapter), weight=0.5),
        explicit=ivg.Explicit(tiny.value_head(head), weight=0.5),
        search=ivg.ChunkBeamSearch(2, 2, 3),
    )
    expected = tiny.chat(MESSAGES, guidance=guidance, max_tokens=9, seed=1)
    assert found.text() == expected.text
    assert details(found)["score"] == expected.score
    assert len(details(found)["candidates"]) == len(expected.candidates)


def test_guides_of_other_models(tiny: ivg.Model) -> None:
    untuned = FIXTURES / "tiny-llama-untuned.gguf"
    add("far", "--tuned", TINY, "--untuned", untuned, "--value-head", FIXTURES / "tiny-value-scalar.gguf",
        "--value-model", TINY)  # fmt: skip
    found = llm.get_model("far").prompt("Hello", max_tokens=6, seed=1).text()
    assert found != tiny.chat(MESSAGES, max_tokens=6, seed=1).text


def test_system_texts_as_guides(tiny: ivg.Model) -> None:
    add("kind", "--tuned-system", "Be kind.", "--untuned-system", "Be yourself.")
    found = llm.get_model("kind").prompt("Hello", max_tokens=10, seed=1, weight=3).text()
    sides = [[{"role": "system", "content": text}, *MESSAGES] for text in ("Be kind.", "Be yourself.")]
    tuned, untuned = map(tiny.render_chat, sides)
    guidance = ivg.Guidance(implicit=ivg.Implicit(tuned_template=tuned, untuned_template=untuned, weight=3))
    assert found == tiny.chat(MESSAGES, guidance=guidance, max_tokens=10, seed=1).text
    assert found != tiny.chat(MESSAGES, max_tokens=10, seed=1).text


@pytest.mark.parametrize("system", [["--tuned-system", "Be kind."], ["--untuned-system", "Be {prompt}."]])
@pytest.mark.parametrize("untuned", [False, True])
def test_a_prompt_that_speaks_of_templates(system: list[str], untuned: bool) -> None:
    """What every model reads is the text that the user wrote, whatever is in it."""
    others = ["--untuned", FIXTURES / "tiny-llama-untuned.gguf"] if untuned else []
    head = FIXTURES / "tiny-value-scalar.gguf"
    add("templates", *system, *others, "--value-head", head)
    loaded = load("templates", read_entries()["templates"])
    messages = [{"role": "user", "content": "What does {prompt} mean?"}]
    request = loaded.request(messages, 1.0, None)
    text = loaded.model.render_chat(messages)
    assert read_by(request["template"], request["prompt"]) == text
    guidance = request["guidance"]
    implicit, explicit = guidance._implicit[0], guidance._explicit[0]
    assert read_by(explicit.template, request["prompt"]) == text
    sides = {
        "tuned": (implicit.tuned_template, text),
        "untuned": (implicit.untuned_template, text if untuned else None),
    }
    side, words = system[0].split("-")[2], system[1]
    sides[side] = (sides[side][0], loaded.model.render_chat([{"role": "system", "content": words}, *messages]))
    for template, expected in sides.values():
        assert read_by(template, request["prompt"]) == expected
    plain = loaded.model.chat(messages, max_tokens=6, seed=1).text
    off = llm.get_model("templates").prompt("What does {prompt} mean?", max_tokens=6, seed=1, weight=0).text()
    assert off == plain


def read_by(template: str | None, prompt: str) -> str | None:
    """What a model reads of a prompt."""
    return None if template is None else template.replace("{prompt}", prompt)


def test_the_model_for_asyncio(tiny: ivg.Model) -> None:
    add("small")
    expected = tiny.chat(MESSAGES, max_tokens=10, seed=1).text

    async def main() -> None:
        model = llm.get_async_model("small")
        response = model.prompt("Hello", max_tokens=10, seed=1)
        assert "".join([part async for part in response]) == expected
        assert (await response.usage()).output == 10
        assert await model.prompt("Hello", max_tokens=10, seed=1, stream=False).text() == expected
        many = [model.prompt("Hello", max_tokens=10, seed=1).text() for _ in range(20)]
        assert await asyncio.gather(*many) == [expected] * 20

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize(
    ("option", "value"),
    [("temperature", "-1"), ("max_tokens", "0"), ("seed", "-1"), ("top_p", "2"), ("width", "0"), ("widht", "2")],
)
def test_options_out_of_range(option: str, value: str) -> None:
    add("small")
    assert option in run("-m", "small", "-o", option, value, "Hello", fails=True).output


def test_errors_are_one_line() -> None:
    add("small", "--context-length", 32)
    assert "width, successors and chunk need a guide" in run("-m", "small", "-o", "width", 2, "Hi", fails=True).output
    assert "32" in run("-m", "small", "word " * 100, fails=True).output


def test_files_that_have_gone(tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(TINY.read_bytes())
    run("ivg", "add", "gone", copy)
    copy.unlink()
    assert f"path: {copy}  (missing)" in run("ivg", "list").output
    assert "No such file" in run("-m", "gone", "Hello", fails=True).output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "ivg-models.json"),
        ("[]", "no object"),
        ('{"a": {}}', '"path"'),
        ('{"a": {"path": "x", "b": 1}}', "has b, which"),
        ('{"a": {"path": "x", "threads": "2"}}', "threads of the model"),
        ('{"a": {"path": "x", "threads": true}}', "int | None"),
        ('{"a": {"path": "x", "context_length": -1}}', "context_length"),
        ('{"a": {"path": "x", "tuned": 5}}', "tuned"),
        ('{"a": {"path": "x", "raw": 1}}', "it must be bool"),
        ('{"a": {"path": "x", "aliases": "b"}}', "list[str]"),
        ('{"a": {"path": "x", "aliases": [1]}}', "list[str]"),
    ],
)
def test_a_broken_list_of_models_breaks_nothing_else(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "ivg-models.json").write_text(text)
    assert message in run("ivg", "list", fails=True).output
    assert "gpt-4o" in run("models").output  # those of other plugins are there
