"""The model card of a trainer with TRL's arguments."""

from collections.abc import Iterator, Mapping, Sequence

from peft import PeftModel
from transformers import Trainer

from preftune.losses import Method
from preftune.metrics.catalogue import HELD_OUT
from preftune.runs.data_report import PartReport
from preftune.runs.folder import Environment
from preftune.runs.model_card import ModelCard, data_facts, topic_of, tuned_from, versions_of

_MEASURED = ("loss", "rewards/accuracies", "rewards/margins")


def card_of(
    trainer: Trainer,
    method: Method,
    reports: Mapping[str, PartReport],
    *,
    base: str,
    title: str,
    data: Sequence[str] = (),
    tags: Sequence[str] = (),
) -> ModelCard:
    """The card of the model as it is now.

    Args:
        reports: Report of each data set.
        base: Id or path of the model that was tuned; empty if it has none.
        title: Name of the model.
        data: Names of the data on the hub.
        tags: Further tags.
    """
    args, is_adapter = trainer.args, isinstance(trainer.model, PeftModel)
    at_once = trainer.get_total_train_batch_size(args)
    return ModelCard(
        title=title,
        about=tuned_from(base, method, is_adapter=is_adapter),
        base_model=base,
        data=data,
        gives_rewards=method.needs("rewards"),
        is_adapter=is_adapter,
        tags=[topic_of(method), *(["lora"] if is_adapter else []), *tags],
        facts={
            **method.options,
            **data_facts(reports),
            "steps": f"{trainer.state.global_step:,}, batch size {at_once}, learning rate {args.learning_rate:g}",
            "seed": args.seed,
            "versions": versions_of(Environment.now()),
        },
        result=list(_results(trainer)),
    )


def _results(trainer: Trainer) -> Iterator[str]:
    """The last held-out values, if there are any."""
    logs = trainer.state.log_history
    found = {name: log[HELD_OUT + name] for log in logs for name in _MEASURED if HELD_OUT + name in log}
    if found:
        yield f"Held out: {', '.join(f'{name} {value:.4f}' for name, value in found.items())}."
