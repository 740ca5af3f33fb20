"""Trains what guided decoding needs: adapters and value heads, on the CPU, over the mapped weights of a model.

    import ivg

    model = ivg.Model("model.gguf")
    trainer = ivg.train.DPO(model, "pairs.jsonl", evaluation=0.1, checkpoint="tuned.checkpoint")
    for report in trainer:
        print(report.kind, report.step, report.loss, report.accuracy)
    trainer.save("tuned.gguf")
    guide = ivg.Implicit(tuned=model.adapter("tuned.gguf"))

What each class learns from, as JSON Lines or as dicts:

* `SFT`: {"prompt", "completion"}, {"messages"}, {"text"}, or both answers of {"prompt", "chosen", "rejected"}: an
  adapter that makes them more probable.
* `DPO`: {"prompt", "chosen", "rejected"}: an adapter that prefers the chosen.
* `RewardModel`: the same: a value head that scores whole answers.
* `ValueModel`: {"prompt", "completion", "reward"}: a value head that scores every beginning of an answer.

Same model, data, options and seed give the same file, whatever the number of threads, and whether or not the run was
interrupted and went on from its checkpoint.
"""

from ._objectives import DPO, SFT, RewardModel, ValueModel
from ._options import TrainingOptions
from ._report import Problem, Report, TrainerInfo
from ._trainer import Trainer

__all__ = [
    "DPO",
    "SFT",
    "Problem",
    "Report",
    "RewardModel",
    "Trainer",
    "TrainerInfo",
    "TrainingOptions",
    "ValueModel",
]
