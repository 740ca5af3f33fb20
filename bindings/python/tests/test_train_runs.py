"""ivg.train: what must not change a run. Ctrl-C, cancelling, being killed, full disks, threads; and its log."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import fixture_path
from interruption import cancelled_after, interrupted_after, since
from training_data import finished, pairs, read_log, rewarded, saved, write

import ivg
from ivg._plot import read_log as curves_of
from ivg.train import DPO, SFT, RewardModel, Trainer, ValueModel

MODEL = str(fixture_path("tiny-llama.gguf"))
FIELDS = (
    "kind step step_count epoch loss learning_rate gradient_norm accuracy margin chosen rejected kl correlation "
    "token_count tokens_per_second seconds done total time"
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Preferences in a file."""
    return write(tmp_path / "pairs.jsonl", pairs(24))


def small(model: ivg.Model, data: Path, **options: Any) -> Trainer:
    """Twelve steps of a few milliseconds, with evaluations."""
    base: dict[str, Any] = {"epochs": 2, "batch_size": 4, "evaluation": 0.2, "dropout": 0.1, "threads": 1}
    return DPO(model, data, **{**base, **options})


def long(model: ivg.Model, folder: Path, **options: Any) -> Trainer:
    """Steps of about a second."""
    data = write(folder / "long.jsonl", pairs(64, words=30))
    return DPO(model, data, **{"batch_size": 64, "epochs": 100, "threads": 2, **options})


def steps_of(log: Path, kind: str = "train") -> list[int]:
    """The steps in a log."""
    return [record["step"] for record in read_log(log) if record["kind"] == kind]


# Cancelling and Ctrl-C


@pytest.mark.parametrize("model", ["tiny", "real"])
def test_ctrl_c_within_100_ms(model: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with long(request.getfixturevalue(model), tmp_path, batch_size=64 if model == "tiny" else 4) as trainer:
        while model == "tiny" and next(trainer).kind != "train":
            pass
        delays = []
        for i in range(5):
            with interrupted_after(0.1 + i * 0.05) as moments:
                with pytest.raises(KeyboardInterrupt):
                    for _ in trainer:
                        pass
                delays.append(since(moments[0]))
        assert statistics.median(delay.clock for delay in delays) < 0.1, delays
        assert max(delay.work for delay in delays) < 0.1, delays
        assert next(trainer).token_count > 0


def test_interrupting_at_any_moment(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    """The run goes on as if nothing had happened: the same file, and no report twice."""
    expected = finished(small(tiny, data), tmp_path)
    with small(tiny, data) as plain:
        wanted = [(report.kind, report.step, report.done) for report in plain]
    source, missing = random.Random(5), 0
    for _ in range(8):
        found = []
        with small(tiny, data) as trainer:
            ended = False
            while not ended:
                with contextlib.suppress(KeyboardInterrupt), interrupted_after(source.uniform(0.001, 0.03)):
                    for report in trainer:
                        found.append((report.kind, report.step, report.done))
                    ended = True
            assert saved(trainer, tmp_path) == expected
        assert found == [report for report in wanted if report in found]
        missing += len(wanted) - len(found)
    assert missing <= 2  # interrupted between the call and the list


def test_cancelling(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    expected = finished(small(tiny, data), tmp_path)
    with small(tiny, data) as trainer:
        trainer.cancel()
        with pytest.raises(ivg.CancelledError):
            trainer.run()
        for report in trainer:
            if report.step == 3:
                break
        trainer.cancel()
        trainer.cancel()
        with pytest.raises(ivg.CancelledError):
            next(trainer)
        trainer.run()
        assert saved(trainer, tmp_path) == expected


def test_cancelling_from_another_thread(tiny: ivg.Model, tmp_path: Path) -> None:
    with long(tiny, tmp_path) as trainer:
        next(trainer)
        with cancelled_after(0.3, trainer.cancel) as moments:
            with pytest.raises(ivg.CancelledError):
                trainer.run()
            assert since(moments[0]).work < 0.1


def test_closing_stops_a_call_of_another_thread(tiny: ivg.Model, tmp_path: Path) -> None:
    trainer = long(tiny, tmp_path)
    outcome: list[object] = []

    def work() -> None:
        try:
            outcome.append(trainer.run())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    trainer.close()
    thread.join(5)
    assert len(outcome) == 1
    assert isinstance(outcome[0], ivg.CancelledError | ValueError)


def test_a_signal_that_raises_nothing_stops_nothing(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    expected = finished(small(tiny, data), tmp_path)
    seen: list[int] = []
    previous = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        assert finished(small(tiny, data), tmp_path) == expected
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert seen


# Threads


@pytest.mark.parametrize("make", [SFT, DPO, RewardModel, ValueModel])
def test_any_number_of_threads(tiny: ivg.Model, make: Any, tmp_path: Path) -> None:
    records = pairs(16) if make is not ValueModel else rewarded(16)
    files = {finished(make(tiny, records, batch_size=8, threads=threads), tmp_path) for threads in (1, 2, 3)}
    assert len(files) == 1


def test_two_trainers_and_a_session_at_once(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    text = tiny.generate("Say", seed=1, max_tokens=60, ignore_end=True).text
    expected = finished(small(tiny, data), tmp_path)
    trainers = [small(tiny, data) for _ in range(2)]
    threads = [threading.Thread(target=trainer.run) for trainer in trainers]
    for thread in threads:
        thread.start()
    assert tiny.generate("Say", seed=1, max_tokens=60, ignore_end=True).text == text
    for thread, trainer in zip(threads, trainers, strict=True):
        thread.join(60)
        assert saved(trainer, tmp_path) == expected


# Checkpoints


def test_going_on_from_a_checkpoint(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    expected = finished(small(tiny, data), tmp_path)
    checkpoint = tmp_path / "run.checkpoint"
    for resumed, stop in ((0, 1), (1, 5), (5, 9)):
        with small(tiny, data, checkpoint=checkpoint, threads=2) as trainer:
            assert trainer.info.resumed_step == resumed
            for report in trainer:
                if report.kind == "train" and report.step == stop:
                    break
            trainer.checkpoint()
    assert finished(small(tiny, data, checkpoint=checkpoint), tmp_path) == expected
    with small(tiny, data, checkpoint=checkpoint) as trainer:  # there is nothing left to do
        assert trainer.run() is None
        assert saved(trainer, tmp_path) == expected


def test_checkpoints_that_do_not_fit(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.checkpoint"
    with small(tiny, data, checkpoint=checkpoint) as trainer:
        next(trainer)
        next(trainer)
        trainer.checkpoint()
    changes: list[dict[str, Any]] = [{"learning_rate": 1e-3}, {"seed": 1}, {"rank": 2}, {"beta": 0.2}, {"epochs": 3}]
    for change in changes:
        with pytest.raises(ivg.MismatchError, match=r"run\.checkpoint.*another run: its " + next(iter(change))):
            small(tiny, data, checkpoint=checkpoint, **change)
    with pytest.raises(ivg.MismatchError, match="its data"):
        small(tiny, write(tmp_path / "other.jsonl", pairs(24, seed=2)), checkpoint=checkpoint)
    whole = checkpoint.read_bytes()
    for size in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        checkpoint.write_bytes(whole[:size])
        with pytest.raises(ivg.CorruptFileError, match=r"run\.checkpoint"):
            small(tiny, data, checkpoint=checkpoint)


def test_records_go_on_too(tiny: ivg.Model, tmp_path: Path) -> None:
    """Records are written to another file each time; what counts is what is in it."""
    expected = finished(DPO(tiny, pairs(12), epochs=3), tmp_path)
    with DPO(tiny, pairs(12), epochs=3, checkpoint=tmp_path / "c") as trainer:
        for report in trainer:
            if report.kind == "train":
                break
        trainer.checkpoint()
    with DPO(tiny, pairs(12), epochs=3, checkpoint=tmp_path / "c") as trainer:
        assert trainer.info.resumed_step == 1
        assert finished(trainer, tmp_path) == expected


RUN = """
import json, sys
import ivg
model, data, options, log, output = json.loads(sys.argv[1])
trainer = ivg.train.DPO(ivg.Model(model), data, **options)
trainer.run(log=log)
trainer.save(output)
"""


def logged_step(log: Path) -> int:
    """The last step in a log that is being written."""
    lines = log.read_text().splitlines() if log.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=-1)


def test_killed_and_resumed(tiny: ivg.Model, tmp_path: Path) -> None:
    """Killed at any moment, the run ends with the same file, and its log has every step once."""
    data = write(tmp_path / "pairs.jsonl", pairs(60, words=12))
    options = {"epochs": 3, "batch_size": 4, "evaluation": 0.2, "dropout": 0.1, "checkpoint_every": 2, "threads": 1}
    expected = finished(DPO(tiny, data, **options), tmp_path)  # type: ignore[arg-type]
    checkpoint, log, output = (str(tmp_path / name) for name in ("checkpoint", "log.jsonl", "killed.gguf"))
    arguments = json.dumps([MODEL, str(data), {**options, "checkpoint": checkpoint}, log, output])
    command = [sys.executable, "-c", RUN, arguments]
    source = random.Random(7)
    for step in (-1, 0, 1, 5, 6, 11, 12, 13, 20, 27, 30):
        with subprocess.Popen(command) as process:
            while process.poll() is None and logged_step(Path(log)) < step:
                time.sleep(0.001)
            time.sleep(source.uniform(0, 0.02))
            process.kill()
        assert process.returncode == -signal.SIGKILL
    assert subprocess.run(command, timeout=60).returncode == 0
    assert Path(output).read_bytes() == expected
    assert steps_of(Path(log)) == list(range(1, 37))
    assert steps_of(Path(log), "evaluate") == [12, 24, 36]
    assert not list(tmp_path.glob("killed.gguf.*"))


FULL = """
import json, resource, sys
import ivg
model, data, checkpoint, output = json.loads(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
trainer = ivg.train.DPO(ivg.Model(model), data, epochs=3, batch_size=4, checkpoint=checkpoint, checkpoint_every=2)
while next(trainer).step < 3:
    pass
good = open(checkpoint, "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
for call in (lambda: list(trainer), lambda: list(trainer), trainer.checkpoint, lambda: trainer.save(output)):
    try:
        call()
    except ivg.IOFailure as error:
        assert isinstance(error, OSError)
        assert "File too large" in str(error), error
    else:
        raise AssertionError("the disk was full")
assert open(checkpoint, "rb").read() == good
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
trainer.run()
trainer.save(output)
"""


def test_a_full_disk(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    """An error that leaves the last good checkpoint; when there is room, training goes on."""
    expected = finished(DPO(tiny, data, epochs=3, batch_size=4), tmp_path)
    checkpoint, output = tmp_path / "checkpoint", tmp_path / "full.gguf"
    arguments = json.dumps([MODEL, str(data), str(checkpoint), str(output)])
    done = subprocess.run([sys.executable, "-c", FULL, arguments], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert output.read_bytes() == expected
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"pairs.jsonl", "saved.gguf", "checkpoint", "full.gguf"}


# The log


def test_the_log(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    seen: list[ivg.train.Report] = []
    with small(tiny, data) as trainer:
        result = trainer.run(seen.append, log=log)
    assert result == seen[-1]
    records = read_log(log)
    assert all(list(record) == FIELDS.split() for record in records)
    assert [record["kind"] for record in records] == [report.kind for report in seen]
    assert [record["loss"] for record in records] == [report.loss for report in seen]
    assert records[-1]["accuracy"] == seen[-1].accuracy
    assert records[-1]["gradient_norm"] is None
    assert steps_of(log) == list(range(1, 11))
    assert {("loss", "train"), ("learning_rate", "train"), ("kl", "evaluate")} <= curves_of(log).keys()
    with small(tiny, data, max_steps=2, evaluation=None) as trainer:  # another run: the log begins anew
        last = trainer.run(log=log)
    assert last is not None
    assert (last.kind, last.step, last.kl) == ("train", 2, None)
    assert steps_of(log) == [1, 2]


def test_a_log_goes_on_with_its_run(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    log, checkpoint = tmp_path / "log.jsonl", tmp_path / "checkpoint"

    class Stop(Exception):
        pass

    def stop(report: ivg.train.Report) -> None:
        if report.kind == "train" and report.step in (4, 7):
            raise Stop

    trainer = small(tiny, data, checkpoint=checkpoint, evaluate_every=2)
    with pytest.raises(Stop):
        trainer.run(stop, log=log)
    trainer.checkpoint()
    with pytest.raises(Stop):  # the same trainer goes on
        trainer.run(stop, log=log)
    trainer.close()
    assert steps_of(log) == list(range(1, 8))
    with open(log, "a") as file:
        file.write('{"kind": "train", "step": 8, "los')  # killed while writing
    with small(tiny, data, checkpoint=checkpoint, evaluate_every=2) as resumed:
        assert resumed.info.resumed_step == 4
        resumed.run(log=log)
    assert steps_of(log) == list(range(1, 11))
    assert steps_of(log, "evaluate") == [2, 4, 6, 8, 10]


def test_what_is_no_log_is_not_overwritten(tiny: ivg.Model, data: Path) -> None:
    before = data.read_bytes()
    with small(tiny, data) as trainer:
        with pytest.raises(ivg.InvalidArgumentError, match="no log of training"):
            trainer.run(log=data)
        with pytest.raises(FileNotFoundError):
            trainer.run(log="/nowhere/log.jsonl")
        assert trainer.run() is not None
    assert data.read_bytes() == before
