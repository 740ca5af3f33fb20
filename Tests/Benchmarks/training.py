#!/usr/bin/env python3
"""Training on a real model: speed against PyTorch + peft in one run, a head alone on many sequences, memory.

    python training.py MODEL.gguf PAIRS.jsonl --peer PYTHON [--variants NAME...] [--steps 12] [--json FILE]

PYTHON is an interpreter with training_requirements.txt. The peer (training_peer.py) and libivg take turns: libivg,
each variant of the peer, libivg. Both do the same step: 8 pairs, LoRA of rank 8 on all projections, reference
log-probabilities computed before. Every measurement is a process of its own; memory is its peak (VmHWM). Needs the
package `ivg` with a release library.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import processor_name

HERE = Path(__file__).resolve().parent


def peak_memory() -> int:
    """Bytes, of this process."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def worker_dpo(options: argparse.Namespace) -> dict[str, object]:
    import ivg
    from ivg.train import DPO

    lines = options.pairs.read_text(encoding="utf-8").splitlines()[: 8 * (options.steps + 2)]
    with ivg.Model(options.model) as model:
        trainer = DPO(model, [json.loads(line) for line in lines], batch_size=8, threads=options.threads, seed=1)
        steps = [report for report in trainer if report.kind == "train"][2:]
        return {
            "seconds_per_step": statistics.median(report.seconds for report in steps),
            "tokens_per_second": statistics.median(report.token_count / report.seconds for report in steps),
            "kept_layers": trainer.info.kept_layers,
            "peak_bytes": peak_memory(),
        }


def worker_head(options: argparse.Namespace) -> dict[str, object]:
    """A head alone on `options.sequences` sequences: hidden states once, then epochs over them."""
    import ivg
    from ivg.train import ValueModel

    lines = options.pairs.read_text(encoding="utf-8").splitlines()
    texts = []
    for number in range(options.sequences):
        pair = json.loads(lines[number // 2 % len(lines)])
        good = number % 2 == 0
        texts.append({"prompt": pair["prompt"], "completion": pair["chosen" if good else "rejected"], "reward": float(good)})
    with ivg.Model(options.model) as model:
        trainer = ValueModel(model, texts, head_only=True, epochs=3, threads=options.threads, seed=1)
        reports = list(trainer)
        prepared = [report for report in reports if report.kind == "prepare"]
        return {
            "sequences": options.sequences,
            "tokens": sum(report.token_count for report in prepared),
            "prepare_seconds": sum(report.seconds for report in prepared),
            "train_seconds": sum(report.seconds for report in reports if report.kind == "train"),
            "epochs": 3,
            "peak_bytes": peak_memory(),
        }


WORKERS = {"dpo": worker_dpo, "head": worker_head}


def measure(worker: str, options: argparse.Namespace) -> dict[str, object]:
    command = [sys.executable, __file__, str(options.model), str(options.pairs), "--worker", worker]
    command += ["--steps", str(options.steps), "--threads", str(options.threads)]
    command += ["--sequences", str(options.sequences)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(result.stdout.splitlines()[-1])
    print(f"libivg {worker}: {found}", flush=True)
    return found


def peer(options: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "peer.json"
        command = [options.peer, str(HERE / "training_peer.py"), str(options.model), str(options.pairs)]
        command += ["--steps", str(options.steps), "--threads", str(options.threads), "--json", str(report)]
        command += ["--variants", *options.variants]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return json.loads(report.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--peer", help="an interpreter with PyTorch and peft")
    parser.add_argument("--variants", nargs="+", default=["completion", "fused", "plain"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", choices=WORKERS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options)))
        return
    record: dict[str, object] = {
        "date": datetime.date.today().isoformat(),
        "processor": processor_name(),
        "command": sys.argv[1:],
        "libivg_before": measure("dpo", options),
    }
    if options.peer:
        record["peer"] = peer(options)
    record["libivg_after"] = measure("dpo", options)
    record["head_only"] = measure("head", options)
    text = json.dumps(record, indent=1) + "\n"
    if options.json:
        options.json.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
