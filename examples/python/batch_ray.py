# SPDX-License-Identifier: Apache-2.0
"""Answers the prompts of a JSON Lines file with Ray, on one machine or many, and goes on where a killed run stopped.

python batch_ray.py MODEL PROMPTS OUT [--workers N] [--threads N] [--address auto] ...

PROMPTS has an object with "prompt" on each line. OUT gets an object for each of them, in their order: its index, seed,
text, finish reason and score, or the error. A line is written as a whole, and only behind those of all earlier prompts:
OUT is at any moment the beginning of the finished file. Run the same command again after a kill, a crash or a full
disk, with any number of workers, and OUT ends with the same bytes: a prompt's seed depends on its index alone.
OUT.settings.json says what OUT was made with; a run with another model, other prompts or other options is refused, and
so is a second run while one is writing to OUT. An error that is a prompt's own takes the place of its answer; one that
another machine or another day may not have, such as too little memory, ends the run.

Each worker maps MODEL, which must be at the same path on all machines. On one machine the pages of the file are in
memory once, however many workers there are; --memory prints what they hold. Needs Ray: pip install 'ivg[ray]'
"""

import argparse
import fcntl
import hashlib
import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ivg

# What a prompt alone can be the reason of: it is too long, say, or no text.
PROMPTS_OWN = (ivg.InvalidArgumentError, ivg.ContextFullError, ValueError)
# The options that the answers depend on.
SETTINGS = ("seed", "max_tokens", "temperature", "tuned_prompt", "untuned_prompt", "width", "successors", "chunk")


class Worker:
    """What runs in each of Ray's processes: one mapped model, one session."""

    def __init__(self, path: str, settings: dict[str, Any], threads: int) -> None:
        self.settings = settings
        self.model = ivg.Model(path, threads=threads)
        self.guidance: ivg.Guidance | None = None
        if settings["tuned_prompt"] is not None:
            search = ivg.ChunkBeamSearch(settings["width"], settings["successors"], settings["chunk"])
            self.guidance = ivg.Guidance(
                implicit=ivg.Implicit(
                    tuned_template=settings["tuned_prompt"],
                    untuned_template=settings["untuned_prompt"],
                    role="both" if settings["width"] * settings["successors"] > 1 else "tilt",
                ),
                search=search,
            )

    def request(self, prompt: str, seed: int) -> ivg.Stream:
        """A request that has not begun to compute. Raises ivg.InvalidArgumentError for options that are wrong."""
        return self.model.stream(
            prompt,
            guidance=self.guidance,
            max_tokens=self.settings["max_tokens"],
            temperature=self.settings["temperature"],
            seed=seed,
        )

    def answer(self, index: int, prompt: str) -> str:
        """The line of OUT for a prompt."""
        seed = (self.settings["seed"] + index) % (1 << 64)
        try:
            with self.request(prompt, seed) as steps:
                for _ in steps:
                    pass
                completion = steps.completion
        except PROMPTS_OWN as error:
            return json.dumps({"index": index, "seed": seed, "error": str(error)})
        return json.dumps(
            {
                "index": index,
                "seed": seed,
                "text": completion.text,
                "finish_reason": completion.finish_reason,
                "score": completion.score,
            },
            ensure_ascii=False,
        )

    def memory(self) -> tuple[str, int, int]:
        """The machine, and bytes of the mapped file that are in memory here: all, and its share of common ones."""
        name, inside = os.path.realpath(self.model.info.path), False
        total = share = 0
        with open("/proc/self/smaps") as file:
            for line in file:
                fields = line.split()
                if not fields[0].endswith(":"):
                    inside = line.rstrip("\n").endswith(name)
                elif inside and fields[0] in ("Rss:", "Pss:"):
                    total += 1024 * int(fields[1]) if fields[0] == "Rss:" else 0
                    share += 1024 * int(fields[1]) if fields[0] == "Pss:" else 0
        return os.uname().nodename, total, share


def read_prompts(path: Path) -> list[str]:
    """The prompts. Raises ValueError for a line without one."""
    prompts = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            prompt = json.loads(line)["prompt"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f'{path}, line {number}: no object with "prompt" ({error})') from None
        if not isinstance(prompt, str):
            raise ValueError(f'{path}, line {number}: "prompt" is not a text')
        prompts.append(prompt)
    return prompts


def identity(path: Path) -> dict[str, Any]:
    """What tells a model from another one of the same name: its size, and a hash of it, or of 256 MiB all over it."""
    size, block = path.stat().st_size, 1 << 20
    step = max(block, (size - block) // 255)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for start in [*range(0, max(size - block, 0), step), max(size - block, 0)]:
            file.seek(start)
            digest.update(file.read(block))
    return {"model": path.name, "model_bytes": size, "model_sha256": digest.hexdigest()}


class Output:
    """OUT, which no other run may write to meanwhile. Raises ValueError where it must not go on."""

    def __init__(self, path: Path, settings: Mapping[str, Any], prompt_count: int) -> None:
        self.file = open(path, "a+b", buffering=0)  # noqa: SIM115
        try:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"another run is writing to {path}") from None
            self.count = self._begin_or_go_on(path, settings)
            if self.count > prompt_count:
                raise ValueError(f"{path} has {self.count} lines, and there are {prompt_count} prompts: remove it")
        except BaseException:
            self.file.close()
            raise

    def _begin_or_go_on(self, path: Path, settings: Mapping[str, Any]) -> int:
        """How many lines there are already; half a line is cut off."""
        named = path.with_name(path.name + ".settings.json")
        wanted = json.dumps(settings, indent=1, sort_keys=True) + "\n"
        self.file.seek(0)
        content = self.file.readall() or b""
        if not content:
            temporary = named.with_name(named.name + ".partial")
            temporary.write_text(wanted)
            temporary.replace(named)
        elif not named.exists() or named.read_text() != wanted:
            raise ValueError(f"{path} was made with other settings: see {named}, or remove {path}")
        self.file.truncate(content.rfind(b"\n") + 1)
        return content.count(b"\n")

    def append(self, line: str) -> None:
        """Writes a line. What a full disk leaves of it is cut off by the next run."""
        data = memoryview(line.encode() + b"\n")
        while data:
            data = data[self.file.write(data) or 0 :]


def answers(ray: Any, workers: list[Any], prompts: list[str], first: int) -> Iterator[str]:
    """The lines for prompts from `first` on, in order. Few are worked on ahead: those are what a kill loses."""
    done: dict[int, str] = {}
    running: dict[Any, tuple[int, Any]] = {}
    idle = deque(workers * 2)  # one at work and one at hand for each, so that none waits for the next
    upcoming = written = first
    while written < len(prompts):
        while idle and upcoming < min(len(prompts), written + 8 * len(workers)):
            worker = idle.popleft()
            running[worker.answer.remote(upcoming, prompts[upcoming])] = (upcoming, worker)
            upcoming += 1
        finished, _ = ray.wait(list(running), num_returns=1)
        for reference in finished:
            index, worker = running.pop(reference)
            done[index] = ray.get(reference)
            idle.append(worker)
        while written in done:
            yield done.pop(written)
            written += 1


def room(nodes: Iterable[Mapping[str, Any]], threads: int) -> int:
    """How many workers fit onto the machines of a cluster, as `ray.nodes()` describes them."""
    return sum(int(node["Resources"].get("CPU", 0) // threads) for node in nodes if node["Alive"])


def start(ray: Any, arguments: argparse.Namespace) -> None:
    """Starts Ray, or joins a cluster. A worker that fits nowhere would be waited for without a word."""
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if arguments.address is None:
        # Ray only counts processors: it may count more than there are.
        count = max(os.cpu_count() or 1, arguments.workers * arguments.threads)
        ray.init(address="local", num_cpus=count, include_dashboard=False, **quiet)
        return
    ray.init(address=arguments.address, **quiet)
    fitting = room(ray.nodes(), arguments.threads)
    if fitting < arguments.workers:
        ray.shutdown()
        raise ValueError(
            f"the cluster has room for {fitting} workers of {arguments.threads} threads, not for {arguments.workers}"
        )


def run(arguments: argparse.Namespace) -> None:
    """Does what the command line says."""
    import ray

    prompts = read_prompts(arguments.prompts)
    settings = {name: getattr(arguments, name) for name in SETTINGS}
    path = str(arguments.model.resolve())
    # What is wrong with the model or the options is told before anything starts, and not as each prompt's error.
    Worker(path, settings, arguments.threads).request("a", 0).close()
    made_of = {
        **settings,
        **identity(arguments.model),
        "prompts": hashlib.sha256(arguments.prompts.read_bytes()).hexdigest(),
        "ivg": ivg.library_version(),
    }
    out = Output(arguments.out, made_of, len(prompts))
    with out.file:
        print(f"{out.count} of {len(prompts)} are there", file=sys.stderr)
        if out.count == len(prompts):
            return
        start(ray, arguments)
        try:
            # Deterministic, so that Ray may do anything again: what a lost machine had in hand is answered by another.
            actor = ray.remote(num_cpus=arguments.threads, max_restarts=-1, max_task_retries=-1)(Worker)
            workers = [actor.remote(path, settings, arguments.threads) for _ in range(arguments.workers)]
            for line in answers(ray, workers, prompts, out.count):
                out.append(line)
            if arguments.memory:
                print_memory(ray.get([worker.memory.remote() for worker in workers]))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:  # a machine without the model, say; the reason is its last line
            raise ValueError(f"a worker failed: {str(error).strip().splitlines()[-1]}") from None
        finally:
            ray.shutdown()


def print_memory(found: Iterable[tuple[str, int, int]]) -> None:
    """What the workers hold of the mapped file."""
    for host, total, share in found:
        print(f"{host}: {total / 1e6:.1f} MB of the file in use, {share / 1e6:.1f} MB after sharing", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="Answers the prompts of a JSON Lines file with Ray; resumable.")
    made.add_argument("model", type=Path)
    made.add_argument("prompts", type=Path)
    made.add_argument("out", type=Path)
    made.add_argument("--workers", type=int, default=2, help="processes, on all machines together")
    made.add_argument("--threads", type=int, default=1, help="of each worker")
    made.add_argument("--address", help="of a running Ray cluster, or auto; without it, one on this machine")
    made.add_argument("--memory", action="store_true", help="print what the workers hold of the mapped file")
    made.add_argument("--seed", type=int, default=1, help="of the first prompt; each has one more than the last")
    made.add_argument("--max-tokens", type=int, default=64)
    made.add_argument("--temperature", type=float, default=0.7)
    made.add_argument("--tuned-prompt", help="implicit value: template with {prompt} of the tuned side")
    made.add_argument("--untuned-prompt", default="{prompt}", help="... of the untuned side")
    made.add_argument("--width", type=int, default=1)
    made.add_argument("--successors", type=int, default=1)
    made.add_argument("--chunk", type=int, default=0)
    return made


def main() -> int:
    """The exit status."""
    arguments = parser().parse_args()
    if arguments.workers < 1 or arguments.threads < 1 or arguments.seed < 0:
        parser().error("--workers and --threads are at least 1, --seed at least 0")
    try:
        run(arguments)
    except ImportError as error:
        print(f"batch_ray.py needs Ray: pip install 'ivg[ray]' ({error})", file=sys.stderr)
        return 1
    except (ivg.Error, OSError, ValueError) as error:
        print(f"batch_ray.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
