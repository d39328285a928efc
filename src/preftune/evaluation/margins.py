"""The margins that a finished run gives pairs: how much it came to prefer what their labels prefer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import PeftModel
from rich.console import Console
from torch import Tensor, nn
from transformers import TrainingArguments

from preftune.data.tokens.first_difference import weighted_from_first_difference
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import check_vocabulary, tokenize_groups
from preftune.errors import ConfigError
from preftune.groups import PromptGroup
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.forward.model_size import context_length, num_embeddings
from preftune.model.load.choose_forward import choose_forward_for
from preftune.model.load.load_model import Policy, load_causal_lm, load_config, load_tokenizer
from preftune.model.reference.logps import referenced_logps
from preftune.model.reference.reference import AdapterOff, FrozenCopy, Reference
from preftune.runs.arguments import training_arguments
from preftune.runs.cache_reference import cache_reference
from preftune.runs.prepare_data import microbatch_budget
from preftune.settings import TrainConfig

__all__ = ["PairMargins", "config_of_run", "pair_margins"]

_CONFIG = "config.yaml"


@dataclass(frozen=True, slots=True, eq=False)
class PairMargins:
    """Pairs and what a run thinks of them.

    Args:
        pairs: The group that a pair is in, and its number among the group's pairs.
        margins: Implicit reward of the chosen minus that of the rejected completion. Shape: (pair,).
    """

    pairs: tuple[tuple[PromptGroup, int], ...]
    margins: Tensor


def config_of_run(run: str | Path) -> TrainConfig:
    """The settings of a run whose implicit reward can judge pairs.

    Args:
        run: Its folder.
    Raises:
        ConfigError: no run is there, or one whose rewards are not those of a policy against the model it began from.
    """
    file = Path(run).expanduser() / _CONFIG
    if not file.is_file():
        raise ConfigError(
            [
                f"model = {run}: is not the folder of a run ({_CONFIG} is not in it). Name the --output of "
                "`preftune train`."
            ]
        )
    config = TrainConfig.read(file)
    problems = list(_problems(run, config))
    if problems:
        raise ConfigError(problems)
    return config


def pair_margins(
    run: str | Path, config: TrainConfig, groups: Sequence[PromptGroup], *, console: Console
) -> PairMargins:
    """The margins of all pairs under the model of a run against the model that the run began from.

    margin = beta * (logratio(chosen) - logratio(rejected)), per token where the run's method counts so

    Rows are packed where the self-check finds that right. Reference log-probs are taken from the cache, if the run has
    not been told otherwise, and kept there.

    Args:
        run: Folder of the run.
        config: Its settings.
        groups: At least one, each with pairs.
        console: Where progress goes.
    Raises:
        ModelError, TokenizerError: what is in the folder cannot be loaded.
        DataError: all groups are too long.
    """
    arguments = training_arguments(replace(config, output=replace(config.output, output=str(run))))
    kept, tokens = _tokenized(run, config, groups)
    policy, forward = _loaded(run, config, tokens, arguments, console)
    budget = microbatch_budget(tokens, forward.layout, None)
    if config.model.reference_cache:
        is_weighted = any(group.weights for group in tokens)
        policy = cache_reference(
            policy, forward, tokens, arguments, max_tokens=budget, console=console, per_token=is_weighted
        )
    with Arithmetic.of_arguments(arguments).context():
        logps = referenced_logps(policy.model, policy.reference, tokens, forward, max_tokens=budget)
    part = config.method.rewarding
    assert part is not None, "config_of_run checks that"
    rewards = part.reward_scale * (logps.logratio if part.loss.reward == "logratio" else logps.mean_logratio).double()
    of_group = rewards.split([len(group.completions) for group in tokens])
    margins = [
        found[pair.chosen] - found[pair.rejected]
        for group, found in zip(tokens, of_group, strict=True)
        for pair in group.pairs
    ]
    pairs = tuple((group, number) for group in kept for number in range(len(group.pairs)))
    return PairMargins(pairs, torch.stack(margins))


def _tokenized(
    run: str | Path, config: TrainConfig, groups: Sequence[PromptGroup]
) -> tuple[list[PromptGroup], list[TokenGroup]]:
    """The groups that are not too long, as they are and as tokens."""
    settings = replace(config.model, model=str(run))
    tokenized = tokenize_groups(
        groups,
        load_tokenizer(settings),
        max_length=config.data.max_length or context_length(load_config(settings)),
        too_long=config.data.too_long,
        num_processes=config.data.num_processes,
    )
    tokens = tokenized.groups
    if config.data.token_weights == "from_first_difference":
        tokens = [weighted_from_first_difference(group) for group in tokens]
    dropped = set(tokenized.report.dropped)
    return [group for group in groups if group.origin not in dropped], tokens


def _loaded(
    run: str | Path,
    config: TrainConfig,
    tokens: Sequence[TokenGroup],
    arguments: TrainingArguments,
    console: Console,
) -> tuple[Policy, Forward]:
    model = load_causal_lm(config.model, str(run))
    check_vocabulary(tokens, num_embeddings(model))
    policy = Policy(model.eval().requires_grad_(False), _reference(model, config), starts_at_reference=False)
    if isinstance(policy.reference, FrozenCopy):
        nn.Module.to(policy.reference.model, arguments.device)
    choice = choose_forward_for(policy.model, policy.reference, Arithmetic.of_arguments(arguments))
    console.print(choice.reason, highlight=False)
    return policy, choice.forward


def _reference(model: nn.Module, config: TrainConfig) -> Reference:
    """The adapter switched off where the run put a new one on its model, else a model of its own."""
    name = config.model.reference_model or config.model.model
    if isinstance(model, PeftModel) and model.peft_config[model.active_adapter].base_model_name_or_path == name:
        return AdapterOff()
    return FrozenCopy(load_causal_lm(config.model, name).eval().requires_grad_(False))


def _problems(run: str | Path, config: TrainConfig) -> Iterator[str]:
    part, name = config.method.rewarding, config.method.name
    if part is None or part.loss.reward not in ("logratio", "mean_logratio"):
        yield (
            f"model = {run}: method {name} has no implicit reward against a reference, so the run cannot judge labels. "
            "Name a run of dpo or another method that `preftune methods` lists with a reference."
        )
    if config.model.moves_reference:
        yield (
            f"model = {run}: the reference moved with the policy (reference_sync), so the run does not say what it has "
            "learned since its start. Name a run without reference_sync."
        )
    if config.data.auxiliary:
        yield (
            f"model = {run}: further rewards (auxiliary) are a part of what the run has learned, and the labels say "
            "nothing of them. Name a run without auxiliary."
        )
