#!/usr/bin/env python3
"""libivg and llama.cpp side by side on the same files: `make bench`.

    python Tests/Benchmarks/bench.py [--quick] [--types Q8_0 Q4_0] [--model FILE] [--large] [--threads 1 2] [--pairs 7]
                                     [--avx2] [--only WORD...]

Both engines run the same GGUF with the same threads in processes of their own, alternately (A B A B ...); a figure
is the median over the pairs, a ratio the median of the pairs' ratios, in libivg's favour above 1. Pairs during
which other processes used the machine are measured again, a limited number of times. Prints a table and writes
.build/bench/<date>.json.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from machine import bandwidth, compile_library, machine_seconds, processor_name
from report import as_json, as_markdown, as_text, print_table, remarks_of

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
MODELS = ROOT / ".build/models"
NAME = "SmolLM2-135M-Instruct"
PROMPT = (
    "A library that puts guided text generation inside your own process has to be quick, small and predictable, "
    "because nobody waits for a tool that is slower than the one it replaces. "
)
ROWS = (4, 16, 32)
PROMPT_TOKENS = 256
LARGE = "1.1B"  # the model that no cache holds; guides on it would take hours
# A pair is disturbed if others used more than this share of a processor meanwhile.
DISTURBED = 0.10


@dataclass
class Job:
    """One line of the table. `amount` tokens in the seconds that an engine answers; 0: the seconds themselves. `setup`:
    the call that an engine needs before, with its arguments."""

    name: str
    method: str
    arguments: list
    amount: int
    setup: list


class Worker:
    """An engine in a process of its own. avx2: held to AVX2; the peer then comes from an environment of its own, since
    what it is built for is settled at build time."""

    def __init__(self, engine: str, avx2: bool = False, preload: Path | None = None):
        python = str(ROOT / ".build/venv-avx2/bin/python") if avx2 and engine == "llama" else sys.executable
        environment = os.environ | ({"IVG_KERNELS": "avx2"} if avx2 else {})
        if preload:
            environment["LD_PRELOAD"] = str(preload)
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), engine], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip

    def __call__(self, name: str, *arguments):
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the worker ended during {name}")
        return json.loads(line)

    def resident(self, field: str) -> int:
        """Bytes of memory: VmRSS now, or VmHWM at most so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0]) * 1024

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measure(self, job: Job) -> tuple[float, float]:
        """The job's seconds, and how many processors others kept busy meanwhile."""
        machine, own, clock = machine_seconds(), self.processor_seconds(), time.perf_counter()
        seconds = self(job.method, *job.arguments)
        wall = time.perf_counter() - clock
        others = machine_seconds() - machine - (self.processor_seconds() - own)
        return seconds, max(0.0, others - 0.02) / max(wall, 0.05)


def measure_pairs(workers: list[Worker], job: Job, pairs: int) -> dict:
    """Alternating runs of both engines, after one of each to warm up."""
    for worker in workers:
        worker.measure(job)
    clean, disturbed = [], []
    while len(clean) < pairs and len(clean) + len(disturbed) < 3 * pairs:
        both = [worker.measure(job) for worker in workers]
        seconds = [value for value, _ in both]
        (disturbed if max(others for _, others in both) > DISTURBED else clean).append(seconds)
    used = clean if len(clean) >= min(3, pairs) else clean + disturbed
    figures = [statistics.median(column) for column in zip(*used)]
    ratios = sorted(theirs / ours for ours, theirs in used)
    if job.amount:
        figures = [job.amount / seconds for seconds in figures]
    return {
        "job": job.name, "unit": "tokens/s" if job.amount else "s", "libivg": figures[0], "llama.cpp": figures[1],
        "ratio": statistics.median(ratios), "ratios": [ratios[0], ratios[-1]], "pairs": len(used),
        "disturbed": 0 if used is clean else len(disturbed)}  # fmt: skip


def over_plain(worker: Worker, job: Job, pairs: int) -> float:
    """libivg's seconds for a guided job over those for as many tokens without guides, alternately."""
    text, _, _, _, _, count = job.arguments
    ratios = []
    for _ in range(pairs):
        guided = worker(job.method, *job.arguments)
        ratios.append(guided / worker(job.method, text, "plain", 1, 1, 0, count))
    return statistics.median(ratios)


def find_model(file_type: str) -> Path:
    """SmolLM2 in one of its types; made from the shipped file where it is missing, mixtures by the peer."""
    path = MODELS / f"{NAME}.{file_type}.gguf"
    if path.exists():
        return path
    source = MODELS / f"{NAME}.Q4_1.gguf"
    if not source.exists():
        raise SystemExit(f"{source} is missing; `make demo` fetches it")
    if file_type.endswith(("_S", "_M", "_L")):
        peer = Worker("llama")
        peer("quantize", str(find_model("F16")), str(path), file_type)
        peer.end()
    else:
        script = ROOT / "Tests/Fixtures/make_model_variants.py"
        subprocess.run([sys.executable, str(script), str(source), str(MODELS), "--types", file_type], check=True)
    return path


def prompts(path: Path) -> tuple[str, str, list[int]]:
    """Texts of 16 and about 256 tokens, and 512 token ids."""
    import libivg

    model = libivg.Model(str(path))
    ids = model.tokenize(PROMPT * 20)
    short, long = model.detokenize(ids[:16]), model.detokenize(ids[:PROMPT_TOKENS])
    model.free()
    return short, long, ids[:512]


def one_row(count: int, prompt: int = 0) -> str:
    """The name of the job that draws `count` tokens behind a short prompt or a longer one."""
    return f"decode {count}" + (f", prompt {prompt}" if prompt else "")


def jobs_for(path: Path, threads: int, count: int) -> list[Job]:
    short, long, ids = prompts(path)
    setup = ["load", str(path), threads, max(ROWS)]
    return [
        Job("open + first token (prompt 16)", "open_first", [str(path), threads, short], 0, ["unload"]),
        Job("prefill 128", "prefill", [ids[:128]], 128, setup),
        Job("prefill 512", "prefill", [ids], 512, setup),
        Job(one_row(count), "decode", [short, count], count, setup),
        Job(one_row(count, PROMPT_TOKENS), "decode", [long, count], count, setup),
        *(
            Job(f"decode {count} × {rows} rows, prompt {PROMPT_TOKENS}", "decode_rows", [long, rows, count], rows * count, setup)
            for rows in ROWS
        ),
    ]


def guided_jobs(path: Path, threads: int) -> list[Job]:
    """60 tokens with values: from three files, or from one trunk with an adapter or a head."""
    short, _, _ = prompts(path)
    folder = ROOT / ".build/bench" / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "head.gguf").exists():
        subprocess.run([sys.executable, str(HERE / "make_guides.py"), str(path), str(folder)], check=True)
    copies = {name: folder / f"{name}.gguf" for name in ("tuned", "untuned")}
    for copy in copies.values():
        if not copy.exists():
            shutil.copy(path, copy)
    base = str(path)
    apart = {"base": base} | {name: str(copy) for name, copy in copies.items()}
    trunk = {"base": base, "tuned": base, "untuned": base, "adapter": str(folder / "adapter.gguf")}
    scorer = {"base": base, "scorer": base, "head": str(folder / "head.gguf")}
    plans = [("EFTi, three files", apart, "EFTi", (1, 1, 0)), ("EFTi, trunk + adapter", trunk, "EFTi", (1, 1, 0))]
    for shape in ((4, 4, 5), (2, 2, 30)):
        text = ",".join(map(str, shape))
        plans.append((f"CBSe ({text}), trunk + head", scorer, "CBSe", shape))
        plans.append((f"CBSi ({text}), trunk + adapter", trunk, "CBSi", shape))
        plans.append((f"IVG ({text}), trunk + adapter", trunk, "IVG", shape))
    return [
        Job(name, "guide", [short, method, *shape, 60], 60, ["load_guided", files, threads, shape[0] * shape[1]])
        for name, files, method, shape in plans
    ]


def run_model(workers: list[Worker], label: str, path: Path, threads: int, options) -> list[dict]:
    import libivg

    table, setup, plain = [], None, {}
    jobs = jobs_for(path, threads, options.count)
    if options.guided and label != LARGE:
        jobs += guided_jobs(path, threads)
    for job in jobs:
        if options.only and not any(word in job.name for word in options.only):
            continue
        if job.setup != setup:
            setup = job.setup
            for worker in workers:
                worker(*setup)
        before = bandwidth(threads) if job.method == "decode" else None
        line = measure_pairs(workers, job, options.pairs)
        line |= {"model": label, "threads": threads, "method": job.method}
        if job.method == "decode":
            if before:
                # The machine's figure changes from minute to minute: the better one of before and after counts.
                line["read_bandwidth"] = max(before, bandwidth(threads))
                line["share_of_bandwidth"] = libivg.weight_bytes(str(path)) * line["libivg"] / line["read_bandwidth"]
            plain[job.name] = line
        if job.method == "decode_rows" and (one := plain.get(one_row(options.count, PROMPT_TOKENS))):
            line["over_one_row"] = line["libivg"] / one["libivg"]
            line["llama.cpp_over_one_row"] = line["llama.cpp"] / one["llama.cpp"]
        if job.method == "guide":
            line["over_plain"] = over_plain(workers[0], job, options.pairs)
            if one := plain.get(one_row(options.count)):
                line["llama.cpp_over_plain"] = one["llama.cpp"] / line["llama.cpp"]
        table.append(line)
        print(as_text(line), file=sys.stderr, flush=True)
    for worker in workers:
        worker("unload")
    return table


ENGINES = (("libivg", "libivg"), ("llama", "llama.cpp"))


def allocations(label: str, path: Path, avx2: bool) -> dict | None:
    """Calls of malloc and its relatives for each token of a text, after the first ones; None without a compiler."""
    counter = compile_library("allocations")
    if not counter:
        return None
    short, _, _ = prompts(path)
    line = {"model": label}
    for engine, name in ENGINES:
        worker = Worker(engine, avx2, counter)
        worker("load", str(path), 2, 16)
        line[name] = worker("allocations", short, 64)
        worker.end()
    return line


def peak_memory(label: str, path: Path, avx2: bool) -> dict:
    """Resident bytes beyond the file at most, of 16 rows x 64 tokens, each engine in a fresh process."""
    short, _, _ = prompts(path)
    line = {"model": label, "file": path.stat().st_size}
    for engine, name in ENGINES:
        worker = Worker(engine, avx2)
        worker("unload")
        before = worker.resident("VmRSS")
        worker("load", str(path), 2, 16)
        worker("decode_rows", short, 16, 64)
        line[name] = worker.resident("VmHWM") - before - line["file"]
        worker.end()
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 pairs, half the tokens, Q8_0 and Q4_0")
    parser.add_argument("--types", nargs="+", default=None, help="types of SmolLM2: Q8_0 Q4_0 Q4_1 Q4_K_M")
    parser.add_argument("--model", type=Path, action="append", default=[], help="a further GGUF file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pairs", type=int, default=None)
    parser.add_argument("--large", action="store_true", help="also 1.1 billion random weights at Q4_0")
    parser.add_argument("--guided", action=argparse.BooleanOptionalAction, default=None, help="EFTi, CBS and IVG too")
    parser.add_argument("--avx2", action="store_true", help="hold both engines to AVX2")
    parser.add_argument("--only", nargs="+", default=[], help="jobs whose name contains one of these words")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--markdown", type=Path, default=None)
    options = parser.parse_args()
    options.pairs = options.pairs or (3 if options.quick else 7)
    options.count = 32 if options.quick else 64
    if options.guided is None:
        options.guided = not options.quick
    if options.types is None:
        options.types = ["Q8_0", "Q4_0"] if options.quick else ["Q4_1", "Q8_0", "Q4_0", "Q4_K_M"]
    models = [(name, find_model(name)) for name in options.types]
    models += [(path.stem[-24:], path.resolve()) for path in options.model]
    if options.large:
        large = ROOT / ".build/bench/large.Q4_0.gguf"
        if not large.exists():
            command = [sys.executable, str(HERE / "make_guides.py"), str(models[0][1]), str(large.parent), "--large"]
            subprocess.run(command, check=True)
        models.append((LARGE, large))

    workers = [Worker(engine, options.avx2) for engine, _ in ENGINES]
    date = datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
    report = {
        "date": date, "processor": processor_name(),
        "libivg": workers[0]("describe"),
        "llama.cpp": workers[1]("describe"), "pairs": options.pairs,
        "command": " ".join(["bench.py", *(Path(word).name for word in sys.argv[1:])]), "lines": []}  # fmt: skip
    for label, path in models:
        for threads in options.threads:
            report["lines"] += run_model(workers, label, path, threads, options)
    for worker in workers:
        worker.end()
    report["peak_memory"], report["allocations"] = [], []
    target = options.json or ROOT / f".build/bench/{date.replace(' ', '-').replace(':', '')}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(as_json(report))  # whatever happens to what follows
    for label, path in [] if options.only else models:
        report["peak_memory"].append(peak_memory(label, path, options.avx2))
        if line := allocations(label, path, options.avx2):
            report["allocations"].append(line)
    print_table(report["lines"])
    print("\n".join(remarks_of(report)))
    print(f"{report['processor']}; A {report['libivg']}; B {report['llama.cpp']}; ratio above 1: libivg is faster")
    target.write_text(as_json(report))
    if options.markdown:
        options.markdown.write_text(as_markdown(report))
    print(target)


if __name__ == "__main__":
    main()
