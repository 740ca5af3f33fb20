"""The programs of examples/ run, on a tiny model and where they need one on the real model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REAL_MODEL, ROOT, fixture_path

import ivg
from ivg._library import lib

EXAMPLES = ROOT / "examples"
TINY = fixture_path("tiny-llama.gguf")
MODELS = pytest.mark.parametrize("model", [TINY, REAL_MODEL], ids=["tiny", "real"])

# The programs that are the same in every language: arguments behind MODEL, and what they read.
COMMON: list[tuple[str, list[str], bytes]] = [
    ("generate", ["Once upon a time"], b""),
    ("generate", [os.fsdecode(b"caf\xff \xc3\xa9 {prompt}")], b""),
    ("guided", ["The film was"], b""),
    ("chat", [], "Hé?\n\n\r\n".encode() + b"\xff and {prompt}\r"),
    ("chat", [], b""),
    ("score", ["My review: ", "What a wonderful film!", os.fsdecode(b"It was a waste\xff"), ""], b""),
]
COMMON_NAMES = [name for name, _, _ in COMMON]


def run(*arguments: str | Path, **environment: str) -> str:
    """Runs a program, which must succeed in silence."""
    environment = {**os.environ, **environment}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def python_example(name: str, *arguments: str | Path) -> list[str | Path]:
    """The command of an example."""
    return [sys.executable, EXAMPLES / "python" / f"{name}.py", *arguments]


@MODELS
@pytest.mark.parametrize(("name", "arguments", "read"), COMMON)
def test_the_common_programs(name: str, arguments: list[str], read: bytes, model: Path) -> None:
    """They print what the package's calls give, byte by byte, whatever the locale."""
    if not model.exists():
        pytest.skip("make model")
    expected = globals()[f"expected_{name}"](model, *arguments, read=read)
    for locale in ("C", "C.UTF-8", "en_US.ISO-8859-1") if model == TINY else ("C.UTF-8",):
        environment = {**os.environ, "LC_ALL": locale}
        command = python_example(name, model, *arguments)
        done = subprocess.run(command, input=read, capture_output=True, timeout=120, env=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == expected


def expected_generate(path: Path, prompt: str, read: bytes) -> bytes:
    """What generate prints."""
    text = ivg.Model(path).generate(prompt, max_tokens=64, seed=1).text
    return os.fsencode(prompt) + text.encode() + b"\n"


def expected_guided(path: Path, prompt: str, read: bytes) -> bytes:
    """What guided prints."""
    value = ivg.Implicit(
        tuned_template="A review by someone who loved it: {prompt}",
        untuned_template="A review: {prompt}",
        role="both",
    )
    guidance = ivg.Guidance(implicit=value, search=ivg.ChunkBeamSearch(2, 2, 10))
    found = ivg.Model(path).generate(prompt, guidance=guidance, max_tokens=40, seed=1)
    rows = [f"{i}: score {row.score:.3f}, {len(row.token_ids)} tokens\n" for i, row in enumerate(found.candidates)]
    return (found.text + "\n" + "".join(rows)).encode()


def expected_chat(path: Path, read: bytes) -> bytes:
    """What chat prints."""
    model, printed = ivg.Model(path), b""
    messages = [{"role": "system", "content": "You are a helpful assistant."}]
    for line in read.split(b"\n"):
        if question := line.removesuffix(b"\r"):
            messages.append({"role": "user", "content": os.fsdecode(question)})
            answer = model.chat(messages, max_tokens=60, temperature=0).text
            messages.append({"role": "assistant", "content": answer})
            printed += b"> " + question + b"\n" + answer.encode() + b"\n"
    return printed


def expected_score(path: Path, prompt: str, *texts: str, read: bytes) -> bytes:
    """What score prints."""
    value = ivg.Implicit(tuned_template="I loved it. {prompt}", untuned_template="{prompt}")
    values = ivg.Model(path).score(value, prompt, texts, ended=False)
    return b"".join(b"%8.3f  %s\n" % (number, os.fsencode(text)) for number, text in zip(values, texts, strict=True))


@pytest.mark.parametrize("name", sorted(set(COMMON_NAMES)))
def test_the_common_programs_print_what_those_in_c_print(name: str, tmp_path: Path) -> None:
    source = EXAMPLES / "c" / f"{name}.c"
    if not source.exists() or shutil.which("cc") is None:
        pytest.skip(f"{source} or a C compiler is missing")
    library = Path(lib._name).resolve()
    program = tmp_path / name
    flags = ["-std=c11", "-D_GNU_SOURCE", f"-I{ROOT / 'include'}", f"-Wl,-rpath,{tmp_path}"]
    subprocess.run(["cc", *flags, source, library, "-o", program], check=True)
    (tmp_path / "libivg.so.0").symlink_to(library)
    for model in (TINY, REAL_MODEL):
        for arguments, read in [(a, r) for n, a, r in COMMON if n == name and model.exists()]:
            inputs = {"input": read, "capture_output": True, "timeout": 120}
            in_c = subprocess.run([program, model, *arguments], **inputs)  # type: ignore[call-overload]
            assert (in_c.returncode, in_c.stderr) == (0, b"")
            in_python = subprocess.run(python_example(name, model, *arguments), **inputs)  # type: ignore[call-overload]
            assert in_python.stdout == in_c.stdout


def test_the_capital_of_france() -> None:
    if not REAL_MODEL.exists():
        pytest.skip("make model")
    done = subprocess.run(
        python_example("chat", REAL_MODEL),
        input="What is the capital of France?\n\nAnd of Italy?\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert re.fullmatch(r"> What.*\n.*Paris.*\n> And of Italy\?\n.*Rome.*\n", done.stdout)


@pytest.mark.parametrize("name", ["generate", "guided", "chat", "score", "steer_your_model", "personal", "batch_ray"])
def test_errors_and_usage(name: str, tmp_path: Path) -> None:
    if name == "batch_ray":
        pytest.importorskip("ray", reason="Ray is missing: pip install 'ivg[ray]'")
    rest = {"chat": [], "score": ["a", "b"], "batch_ray": ["a.jsonl", "b.jsonl"], "steer_your_model": []}
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\n')
    cases = [([], 2, "usage: "), (["/no/such/model.gguf", *rest.get(name, ["a"])], 1, "/no/such/model.gguf")]
    for arguments, status, message in cases:
        done = subprocess.run(
            python_example(name, *arguments), capture_output=True, text=True, timeout=60, cwd=tmp_path
        )
        assert (done.returncode, done.stdout) == (status, "")
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_nudged() -> None:
    other = fixture_path("tiny-other-vocabulary.gguf")
    assert "nudged, ended by" in run(EXAMPLES / "python" / "nudged.py", TINY, other)


@MODELS
def test_steering_a_model_of_ones_own(model: Path, tmp_path: Path) -> None:
    """Guidance raises the value of what the n-gram model writes, which stays what it has learned."""
    if not model.exists():
        pytest.skip("make model")
    pytest.importorskip("numpy")
    output = run(EXAMPLES / "python" / "steer_your_model.py", model)
    alone, guided = map(float, re.findall(r"^(?:alone|guided), value ([+-][\d.]+):", output, re.M))
    assert guided > alone + 1
    text = tmp_path / "text.txt"
    text.write_text("The film was xyzzy. " * 20)
    assert "xyzzy. The film was xyzzy" in run(EXAMPLES / "python" / "steer_your_model.py", model, text)


def test_steering_a_model_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    done = subprocess.run(
        python_example("steer_your_model", TINY, tmp_path),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    alone, guided = map(float, re.findall(r"^(?:alone|guided), value ([+-][\d.]+):", done.stdout, re.M))
    assert guided > alone + 1


@MODELS
def test_two_users_over_one_file(model: Path, tmp_path: Path) -> None:
    if not model.exists():
        pytest.skip("make model")
    first = run(EXAMPLES / "python" / "personal.py", model, tmp_path)
    assert first.count("trained ") == 2
    anna, bert = re.findall(r"^(?:anna|bert): (.*)", first, re.M)
    assert anna != bert
    if model == REAL_MODEL:
        mountain, kitchen = ("mountain", "rock", "forest", "dog", "tent", "train"), ("bak", "bread", "cook", "kitchen")
        assert any(word in anna for word in mountain)
        assert not any(word in anna for word in kitchen)
        assert any(word in bert for word in kitchen)
    again = run(EXAMPLES / "python" / "personal.py", model, tmp_path)
    assert again == "".join(line + "\n" for line in first.split("\n") if not line.startswith("trained ")).removesuffix(
        "\n"
    )


# A batch over Ray


def batch(folder: Path, out: str, *arguments: str) -> list[str | Path]:
    """The command of a batch over the prompts of a folder."""
    return python_example("batch_ray", TINY, folder / "prompts.jsonl", folder / out, "--max-tokens", "150", *arguments)


def prompts_in(folder: Path, count: int) -> None:
    """Some prompts, one of them too long, one that is no text as UTF-8."""
    prompts = [f"Prompt {number}" for number in range(count)]
    prompts[3] = "word " * 300
    prompts[5] = "\ud800"
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))


@pytest.fixture(scope="module")
def batch_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts, and in whole.jsonl the answers of one run that nothing disturbed."""
    pytest.importorskip("ray", reason="Ray is missing: pip install 'ivg[ray]'")
    folder = tmp_path_factory.mktemp("batch")
    prompts_in(folder, 300)
    done = subprocess.run(batch(folder, "whole.jsonl", "--workers", "1"), capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "0 of 300 are there\n")
    return folder


def test_a_batch_is_what_single_requests_give(batch_folder: Path) -> None:
    lines = [json.loads(line) for line in (batch_folder / "whole.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(300))
    assert [line["seed"] for line in lines] == list(range(1, 301))
    assert "256" in lines[3]["error"]
    assert "surrogates" in lines[5]["error"]
    with ivg.Model(TINY, threads=1) as model:
        for index in (0, 7, 299):
            expected = model.generate(f"Prompt {index}", max_tokens=150, seed=1 + index)
            assert lines[index]["text"] == expected.text
            assert lines[index]["finish_reason"] == expected.finish_reason


def test_a_killed_batch_goes_on_and_ends_with_the_same_bytes(batch_folder: Path) -> None:
    whole = (batch_folder / "whole.jsonl").read_bytes()
    out = batch_folder / "killed.jsonl"
    kills = 0
    for wanted in (20, 120):  # lines that are there when it is killed
        with subprocess.Popen(
            batch(batch_folder, out.name), stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            until = time.monotonic() + 100
            while process.poll() is None and time.monotonic() < until:
                if out.exists() and out.read_bytes().count(b"\n") >= wanted:
                    os.killpg(process.pid, signal.SIGKILL)  # it, and all processes of Ray
                    kills += 1
                    break
                time.sleep(0.002)
        process.wait(60)
        assert whole.startswith(out.read_bytes())
        assert out.read_bytes() != whole
    assert kills == 2
    with open(out, "ab") as file:
        file.write(b'{"index": 9')  # half a line, as a full disk leaves it
    done = subprocess.run(batch(batch_folder, out.name, "--workers", "2"), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == whole
    found = re.fullmatch(r"(\d+) of 300 are there\n", done.stderr)
    assert found is not None
    assert int(found[1]) >= 120
    again = subprocess.run(batch(batch_folder, out.name), capture_output=True, text=True, timeout=100)
    assert (again.returncode, again.stderr) == (0, "300 of 300 are there\n")


def test_a_batch_is_refused_with_other_settings(batch_folder: Path) -> None:
    command = batch(batch_folder, "whole.jsonl", "--seed", "2")
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (1, "")
    assert "made with other settings" in done.stderr
    (batch_folder / "bad.jsonl").write_text('{"prompt": "a"}\n{"text": "b"}\n')
    command = python_example("batch_ray", TINY, batch_folder / "bad.jsonl", batch_folder / "x.jsonl")
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "bad.jsonl, line 2" in done.stderr


def test_workers_of_a_batch_share_the_file(tmp_path: Path) -> None:
    """The pages that all of them use count once."""
    pytest.importorskip("ray", reason="Ray is missing: pip install 'ivg[ray]'")
    if not REAL_MODEL.exists():
        pytest.skip("make model")
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"Prompt {i}"}) + "\n" for i in range(4)))
    command = python_example("batch_ray", REAL_MODEL, tmp_path / "prompts.jsonl", tmp_path / "out.jsonl")
    command += ["--max-tokens", "4", "--workers", "2", "--memory"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"([\d.]+) MB of the file in use, ([\d.]+) MB after sharing", done.stderr)
    assert len(found) == 2
    size = REAL_MODEL.stat().st_size / 1e6
    assert all(float(used) > 0.9 * size for used, _ in found)
    assert sum(float(share) for _, share in found) < 1.1 * size


def test_the_demo_shows_that_guidance_works() -> None:
    if not REAL_MODEL.exists():
        pytest.skip("make model")
    sums = dict.fromkeys(["plain", "EFTi", "CBS", "IVG"], 0.0)  # one seed alone may be lucky
    for seed in "123":
        output = run(EXAMPLES / "demo.py", REAL_MODEL, "--seed", seed)
        names, values = re.findall(r"^(\w+): ", output, re.M), re.findall(r"value ([+-][\d.]+)", output)
        for name, value in zip(names, values, strict=True):
            sums[name] += float(value)
    assert sums["plain"] < sums["EFTi"] < sums["IVG"]
    assert sums["plain"] < sums["CBS"] < sums["IVG"]


@pytest.mark.parametrize("path", ["README.md", "bindings/python/README.md"])
def test_the_first_example_of_a_readme(path: str) -> None:
    """It runs as it stands."""
    if not REAL_MODEL.exists():
        pytest.skip("make model")
    code = (ROOT / path).read_text().split("```python\n")[1].split("```")[0]
    assert run("-c", re.sub(r"ivg\.Model\(.*?\)", f"ivg.Model({str(REAL_MODEL)!r})", code)).strip()
