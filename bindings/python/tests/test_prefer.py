"""Preference data: rows of one batch, pairs, and files that go on where they were stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import fixture_path
from test_cli import run
from test_generate import log_softmax
from test_guidance import by_letters

import ivg
from ivg._prefer import rows_guidance
from ivg._records import Prompt, prompt_seed, read_prompts

TINY = str(fixture_path("tiny-llama.gguf"))
OPTIONS = ivg.SamplingOptions(max_tokens=8, seed=5, top_k=None)
BY_LENGTH = f"{sys.executable} -uc 'import sys, json; [print(len(json.loads(line))) for line in sys.stdin]'"


def length(prompt: str, texts: list[str]) -> list[float]:
    return [float(len(text)) for text in texts]


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# Rows of one batch


def test_all_rows_come_back(tiny: ivg.Model) -> None:
    """N independent rows in one batch: row 0 is plain sampling, and a scorer of best of N sees the same ones."""
    seen: list[str] = []

    def note(prompt: str, texts: list[str]) -> list[float]:
        seen.extend(texts)
        return [0.0] * len(texts)

    rows = tiny.generate("Hello", guidance=rows_guidance(6), sampling=OPTIONS).candidates
    tiny.generate("Hello", guidance=ivg.Guidance(scorer=note, search=ivg.BestOf(6)), sampling=OPTIONS)
    assert [row.text for row in rows] == seen
    assert len(set(seen)) == 6
    assert rows[0].token_ids == tiny.generate("Hello", sampling=OPTIONS).token_ids


def test_rows_of_an_adapter_are_the_tuned_model_s(tiny: ivg.Model, adapter: ivg.Adapter) -> None:
    """What is reported is the tuned model's log-probability, behind the template too."""
    guidance = rows_guidance(3, adapter, "Ab {prompt}")
    rows = tiny.generate("Hello", guidance=guidance, template="Ab {prompt}", sampling=OPTIONS).candidates
    assert len({row.text for row in rows}) == 3
    for row in rows:
        sequence = tiny.session().sequence(adapter)
        sequence.evaluate(tiny.tokenize("Ab Hello"))
        for token, value in zip(row.token_ids, row.log_probabilities, strict=True):
            assert value == pytest.approx(log_softmax(sequence.logits())[token], abs=2e-4)
            sequence.evaluate([token])


def test_the_best_against_the_worst(tiny: ivg.Model) -> None:
    [record] = ivg.prefer(tiny, ["Hello"], by_letters, n=5, sampling=OPTIONS)
    assert list(record) == ["prompt", "chosen", "rejected", "chosen_reward", "rejected_reward"]
    [found] = ivg.sample_rewards(tiny, ["Hello"], by_letters, n=5, sampling=OPTIONS)
    rewards = {some.text: some.reward for some in found.samples}
    assert len(rewards) == 5
    assert rewards == {text: by_letters("Hello", [text])[0] for text in rewards}
    assert record["chosen_reward"] == max(rewards.values()) == rewards[record["chosen"]]
    assert record["rejected_reward"] == min(rewards.values()) == rewards[record["rejected"]]
    assert found.records()[0].keys() == {"prompt", "completion", "reward"}


def test_the_data_keeps_the_bare_prompt(tiny: ivg.Model) -> None:
    [found] = ivg.sample_rewards(tiny, ["Hello"], length, n=1, template="A: {prompt} B", sampling=OPTIONS)
    seed = prompt_seed(5, Prompt("Hello", "1"))
    assert found.samples[0].text == tiny.generate("A: Hello B", sampling=OPTIONS, seed=seed).text
    assert found.records()[0]["prompt"] == "Hello"


def test_a_prompt_s_completions_depend_on_seed_and_id_alone(tiny: ivg.Model) -> None:
    prompts = [{"prompt": "Hello", "id": "a"}, {"prompt": "World", "id": "b"}]

    def texts(prompts: list[dict[str, str]], seed: int = 5, **options: int) -> dict[str, list[str]]:
        found = ivg.sample_rewards(tiny, prompts, length, n=2, sampling=OPTIONS, seed=seed, **options)  # type: ignore[arg-type]
        return {one.prompt.id: [some.text for some in one.samples] for one in found}

    assert texts(prompts) == texts(prompts[::-1]) == texts(prompts, prompts_per_batch=2)
    assert texts(prompts)["b"] == texts(prompts[1:])["b"]
    assert texts(prompts) != texts(prompts, seed=6)
    twins = texts([{"prompt": "Hello", "id": "a"}, {"prompt": "Hello", "id": "b"}])
    assert twins["a"] != twins["b"]


def test_a_head_sees_what_has_ended(tiny: ivg.Model, scalar_head: ivg.ValueHead) -> None:
    """Its end token follows texts that ended, and those only."""
    options = OPTIONS.replace({"end_tokens": list(range(290, 320)), "max_tokens": 3})
    found = list(ivg.sample_rewards(tiny, ["Hello", "World"], scalar_head, n=8, sampling=options))
    kinds = set()
    for one in found:
        for some in one.samples:
            ended = some.finish_reason == "end"
            kinds.add(ended)
            assert some.reward == tiny.score(scalar_head, one.prompt.text, [some.text], ended=ended)[0]
            other = tiny.score(scalar_head, one.prompt.text, [some.text], ended=not ended)[0]
            assert some.reward != other
    assert kinds == {True, False}


def test_what_a_function_must_return(tiny: ivg.Model) -> None:
    for scorer, message in (
        (lambda prompt, texts: [1.0], "returned 1 numbers for 2 texts"),
        (lambda prompt, texts: [1.0, float("nan")], "not a finite number"),
    ):
        with pytest.raises(ivg.CallbackError, match=message):
            list(ivg.prefer(tiny, ["Hello"], scorer, n=2, sampling=OPTIONS))
    with pytest.raises(TypeError, match="cannot reward by int"):
        list(ivg.prefer(tiny, ["Hello"], 3, n=2, sampling=OPTIONS))  # type: ignore[arg-type]


# Pairs


def sampled(*samples: tuple[str, float]) -> ivg.Sampled:
    return ivg.Sampled(Prompt("p", "1"), [ivg.Sample(text, reward, "end", 1) for text, reward in samples])


def named(pairs: list[Any]) -> list[str]:
    return [pair["chosen"] + pair["rejected"] for pair in pairs]


def test_pairs() -> None:
    four = sampled(("a", 1.0), ("b", 3.0), ("c", 2.0), ("d", 1.0))
    assert named(four.pairs()) == ["ba"]
    assert sorted(named(four.pairs("all"))) == ["ba", "bc", "bd", "ca", "cd"]
    assert sorted(named(four.pairs("all", minimum_gap=2.0))) == ["ba", "bd"]
    assert four.pairs("best-worst", minimum_gap=2.1) == []
    assert named(four.pairs("ranked")) == ["bd", "ca"] or named(four.pairs("ranked")) == ["ba", "cd"]
    assert len(four.pairs("ranked", minimum_gap=1.5)) == 1
    drawn = {named(four.pairs("random", seed=seed))[0] for seed in range(100)}
    assert drawn == {"ba", "bc", "bd", "ca", "cd"}
    assert four.pairs("random", seed=3) == four.pairs("random", seed=3)
    with pytest.raises(ivg.InvalidArgumentError, match="pairs is 'some'"):
        four.pairs("some")  # type: ignore[arg-type]


def test_equals_make_no_pair() -> None:
    assert sampled(("a", 1.0), ("b", 1.0)).pairs("all") == []
    assert sampled(("a", 1.0), ("a", 2.0)).pairs("all") == []
    assert named(sampled(("a", 3.0), ("a", 1.0), ("b", 2.0)).pairs()) == ["ab"]
    assert sampled(("a", 1.0)).pairs() == []


# Prompts of a file


def prompts_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "prompts"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_prompts(tmp_path: Path) -> None:
    assert read_prompts(prompts_file(tmp_path, "One\n\n Two \r\nThree")) == [
        Prompt("One", "1"),
        Prompt(" Two ", "3"),
        Prompt("Three", "4"),
    ]
    text = '{"prompt": "One", "id": "x"}\n{"prompt": "Two\\n", "more": 1}\n{"instruction": "Three"}\n'
    assert read_prompts(prompts_file(tmp_path, text)) == [
        Prompt("One", "x"),
        Prompt("Two\n", "2"),
        Prompt("Three", "3"),
    ]
    assert len(read_prompts(prompts_file(tmp_path, text), limit=2)) == 2
    for bad, message in (
        ("", "holds no prompts"),
        ("\n \n", "holds no prompts"),
        ('{"prompt": "One"}\nTwo\n', ":2: not JSON"),
        ('{"prompt": "One"}\n[]\n', ":2: not a JSON object"),
        ('{"prompt": "One"}\n{"text": "Two"}\n', ':2: no text under "prompt"'),
        ('{"prompt": "One", "id": 1}\n{"prompt": "Two", "id": "1"}\n', "two prompts have the id '1'"),
        (b"One\n\xff\n", ":2: not UTF-8"),
    ):
        with pytest.raises(ivg.InvalidArgumentError, match=message):
            read_prompts(prompts_file(tmp_path, bad))


# The command


def prefer(folder: Path, *arguments: str, prompts: int = 6, name: str = "pairs.jsonl") -> tuple[int, str, Path]:
    """Runs `ivg prefer` on the tiny model."""
    path = folder / f"prompts-{prompts}.txt"
    path.write_text("".join(f"Prompt {i}\n" for i in range(prompts)))
    command = ["prefer", TINY, "--prompts", str(path), "-o", str(folder / name), "--max-tokens", "6", "-n", "3"]
    if "--reward-head" not in arguments and "--scorer" not in arguments:
        command += ["--scorer", BY_LENGTH]
    done = run(*command, *arguments)
    return done.returncode, done.stderr.decode(), folder / name


def test_the_command(tmp_path: Path, tiny: ivg.Model) -> None:
    rewards = tmp_path / "rewards.jsonl"
    code, errors, path = prefer(tmp_path, "--rewards", str(rewards), "--pairs", "all", "--prefix", "Xy ")
    assert (code, errors) == (0, "")
    prompts = [{"prompt": f"Prompt {i}", "id": str(i + 1)} for i in range(6)]
    options = ivg.SamplingOptions(max_tokens=6, seed=1)

    def whole_length(prompt: str, texts: list[str]) -> list[float]:
        return [float(len(prompt + text)) for text in texts]

    expected = ivg.prefer(tiny, prompts, whole_length, n=3, pairs="all", template="Xy {prompt}", sampling=options)
    assert lines_of(path) == list(expected)
    samples = lines_of(rewards)
    assert len(samples) == 18
    assert all(some["reward"] == len(some["prompt"] + some["completion"]) for some in samples)


def test_a_reward_head(tmp_path: Path, tiny: ivg.Model, scalar_head: ivg.ValueHead, adapter: ivg.Adapter) -> None:
    head, low_rank = fixture_path("tiny-value-scalar.gguf"), fixture_path("tiny-adapter.gguf")
    code, errors, path = prefer(tmp_path, "--reward-head", str(head), "--adapter", str(low_rank))
    assert (code, errors) == (0, "")
    prompts = [{"prompt": f"Prompt {i}", "id": str(i + 1)} for i in range(6)]
    options = ivg.SamplingOptions(max_tokens=6, seed=1)
    expected = ivg.prefer(tiny, prompts, scalar_head, n=3, adapter=adapter, sampling=options)
    assert lines_of(path) == list(expected)


def test_killed_and_gone_on(tmp_path: Path) -> None:
    """The same bytes as without interruption, also with half a line at the end."""
    rewards = [str(tmp_path / name) for name in ("rewards-1.jsonl", "rewards-2.jsonl")]
    code, _, whole = prefer(tmp_path, "--rewards", rewards[0], name="whole.jsonl", prompts=8)
    assert code == 0
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import sys, json, time\nfor line in sys.stdin:\n"
        "    time.sleep(0.05)\n    print(len(json.loads(line)), flush=True)\n"
    )
    scorer, path = f"{sys.executable} {slow}", tmp_path / "killed.jsonl"
    command = [sys.executable, "-m", "ivg", "prefer", TINY, "--prompts", str(tmp_path / "prompts-8.txt"), "-o"]
    command += [str(path), "--max-tokens", "6", "-n", "3", "--scorer", scorer, "--rewards", rewards[1]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        for _ in range(600):
            if path.exists() and path.read_bytes().count(b"\n") >= 2:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    there = path.read_bytes()
    assert 2 <= there.count(b"\n") < whole.read_bytes().count(b"\n")
    for torn in (str(path), rewards[1]):
        with open(torn, "ab") as file:
            file.write('{"prompt": "Prompt 7", "chosen": "é'.encode()[:-1])
    done = run(*command[3:])
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"were there" in done.stdout
    assert path.read_bytes() == whole.read_bytes()
    assert Path(rewards[1]).read_bytes() == Path(rewards[0]).read_bytes()


def test_prompts_may_be_added(tmp_path: Path) -> None:
    assert prefer(tmp_path, name="whole.jsonl")[0] == 0
    assert prefer(tmp_path, "--limit", "2")[0] == 0
    assert len(lines_of(tmp_path / "pairs.jsonl")) == 2
    code, _, path = prefer(tmp_path)
    assert code == 0
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    before = path.stat().st_mtime_ns
    assert prefer(tmp_path)[0] == 0
    assert path.stat().st_mtime_ns == before


def test_what_must_not_be_mixed(tmp_path: Path) -> None:
    assert prefer(tmp_path)[0] == 0
    path = tmp_path / "pairs.jsonl"
    kept = path.read_bytes()
    for arguments, message in (
        (["--seed", "2"], "other settings: seed was 1, is 2"),
        (["--limit", "3"], "made from other prompts"),
        (["--rewards", str(tmp_path / "r.jsonl")], "made together with pairs.jsonl and no other"),
        (["--adapter", str(fixture_path("tiny-adapter.gguf"))], "other settings: adapter was null"),
    ):
        code, errors, _ = prefer(tmp_path, *arguments)
        assert (code, len(errors.splitlines())) == (1, 1)
        assert message in errors
        assert "--force" in errors
        assert path.read_bytes() == kept
    assert prefer(tmp_path, "--seed", "2", "--force")[0] == 0
    assert path.read_bytes() != kept
    path.write_bytes(path.read_bytes()[:-30])
    code, errors, _ = prefer(tmp_path, "--seed", "2")
    assert (code, "shorter than it was left" in errors) == (1, True)
    (tmp_path / "mine.jsonl").write_text("mine\n")
    code, errors, mine = prefer(tmp_path, name="mine.jsonl")
    assert (code, "exists" in errors) == (1, True)
    assert mine.read_text() == "mine\n"


def test_errors_are_one_line(tmp_path: Path) -> None:
    head, low_rank = str(fixture_path("tiny-value-scalar.gguf")), str(fixture_path("tiny-adapter.gguf"))
    for arguments, message in (
        (["--scorer", "exit 3"], "ended with exit status 3 after 0 of 3"),
        (["--scorer", BY_LENGTH, "--reward-head", head], "either --scorer CMD or --reward-head FILE"),
        (["--reward-head", low_rank], "no value head but of the kind adapter"),
        (["--reward-head", head, "--adapter", head], "an adapter file is needed here"),
        (["--scorer", BY_LENGTH, "--prefix", "{prompt}"], "the prefix holds {prompt}"),
    ):
        code, errors, _ = prefer(tmp_path, *arguments)
        assert (code, len(errors.splitlines())) == (1, 1), errors
        assert message in errors
    (tmp_path / "mine").write_text("mine\n")
    code, errors, _ = prefer(tmp_path, "--rewards", str(tmp_path / "mine"))
    assert (code, "mine exists, and was not made with" in errors) == (1, True)
    assert (tmp_path / "mine").read_text() == "mine\n"
    empty = tmp_path / "empty"
    empty.touch()
    done = run("prefer", TINY, "--prompts", str(empty), "-o", str(tmp_path / "x"), "--scorer", BY_LENGTH)
    assert (done.returncode, b"holds no prompts" in done.stderr) == (1, True)
    assert not (tmp_path / "x").exists()


def test_on_a_real_model(real: ivg.Model) -> None:
    found = list(ivg.prefer(real, ["The film was", "I think"], length, n=4, max_tokens=8, seed=1))
    assert [record["prompt"] for record in found] == ["The film was", "I think"]
    assert all(len(record["chosen"]) > len(record["rejected"]) for record in found)


def test_chat(tmp_path: Path, tiny: ivg.Model) -> None:
    code, errors, path = prefer(tmp_path, "--chat")
    assert (code, errors) == (0, "")
    rendered = tiny.render_chat([{"role": "user", "content": "Prompt 0"}])
    seed = prompt_seed(1, Prompt("Prompt 0", "1"))
    row = tiny.generate(rendered, guidance=rows_guidance(3), max_tokens=6, seed=seed).candidates
    first = lines_of(path)[0]
    assert first["prompt"] == "Prompt 0"
    assert {first["chosen"], first["rejected"]} <= {some.text for some in row}


def test_no_scorer_outlives_its_command(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code, _, _ = prefer(tmp_path, "--scorer", f"echo $$ > {note}; sleep 1000", "--scorer-timeout", "1")
    assert code == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
