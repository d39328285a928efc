"""Inputs of a run: there before anything is loaded, and the same ones when the run is resumed."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from preftune.data.sources import check_source
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import check_vocabulary
from preftune.errors import ConfigError, DataError, ModelError, PreftuneError, TokenizerError
from preftune.model.forward.model_size import num_embeddings
from preftune.model.load.load_model import Policy, load_config
from preftune.model.load.places import check_place
from preftune.model.load.pretrained import TRAINED, adapter_config, loading_base
from preftune.model.reference.fingerprint import digest_weights
from preftune.model.reference.reference import FrozenCopy
from preftune.runs.folder import InputDigest
from preftune.runs.prepare_data import PreparedData
from preftune.settings import TrainConfig
from preftune.settings.packages import missing_loggers, missing_optimizer

_DIGEST_BYTES = 16


def check_inputs(config: TrainConfig) -> None:
    """Check that loggers and optimizer are installed and that models, chat template and data exist.

    Raises:
        ModelError, DataError: the one that is missing.
        ConfigError: several are, or a package; all at once.
    """
    problems: list[PreftuneError] = [ConfigError([text]) for text in missing_packages(config)]
    problems += [*_missing_models(config), *_missing_data(config)]
    if problems and _may_be_on_hub(config.model.model):
        problems += _missing_on_hub(config)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigError([str(problem) for problem in problems])


def missing_packages(config: TrainConfig) -> Iterator[str]:
    """Messages about loggers and an optimizer that need a package which is not installed."""
    yield from missing_loggers(config.output.report_to)
    yield from missing_optimizer(config.optimizer.optimizer)


def _missing_models(config: TrainConfig) -> Iterator[PreftuneError]:
    settings = config.model
    for setting, name in {"model": settings.model, "reference_model": settings.reference_model}.items():
        if name is None:
            continue
        try:
            check_place(name, setting)
            adapter = adapter_config(name, settings.revision)
            if adapter is not None:
                with loading_base(name, str(adapter.base_model_name_or_path), setting):
                    pass
        except ModelError as error:
            yield error
    if settings.chat_template is not None and not Path(settings.chat_template).is_file():
        yield ConfigError([f"chat_template = {settings.chat_template}: there is no such file. Correct the path."])


def _may_be_on_hub(name: str) -> bool:
    try:
        check_place(name)
    except ModelError:
        return False
    return not Path(name).exists()


def _missing_on_hub(config: TrainConfig) -> Iterator[PreftuneError]:
    try:
        load_config(config.model)
    except ModelError as error:
        yield error


def _missing_data(config: TrainConfig) -> Iterator[PreftuneError]:
    for source in (*config.data.data, *config.data.eval_data):
        try:
            check_source(source)
        except DataError as error:
            yield error


def data_digests(data: PreparedData) -> dict[str, InputDigest]:
    """Digests of the rows of a run as tokens, with their feedback and weights."""
    parts = {"training data": data.train, "held-out data": data.held_out}
    return {name: InputDigest(_digest(groups), f"{len(groups):,} prompts") for name, groups in parts.items()}


def model_digests(config: TrainConfig, policy: Policy) -> dict[str, InputDigest]:
    """Digests of the weights that a run starts from, and of its reference model if it names one.

    A new adapter is left out: its weights follow from the seed. Models without weights in this process have none.
    """
    adapters = () if policy.begins_as_base or not config.adapter.lora else (TRAINED,)
    models = {"model": (policy.model, adapters)}
    if config.model.reference_model is not None and isinstance(policy.reference, FrozenCopy):
        models["reference model"] = (policy.reference.model, ())
    found = {}
    for name, (model, names) in models.items():
        if not any(parameter.is_meta for parameter in model.parameters()):
            size = sum(parameter.numel() for parameter in model.parameters())
            found[name] = InputDigest(digest_weights(model, names).hex(), f"{size:,} weights")
    return found


def check_fits(policy: Policy, data: PreparedData, config: TrainConfig) -> None:
    """Check that policy and reference have an embedding for every token of the data.

    Raises:
        TokenizerError: the policy has not.
        ModelError: a reference model of its own has not.
    """
    check_vocabulary(data.all_groups, num_embeddings(policy.model))
    if isinstance(policy.reference, FrozenCopy):
        try:
            check_vocabulary(data.all_groups, num_embeddings(policy.reference.model))
        except TokenizerError as error:
            raise ModelError(
                f"reference_model = {config.model.reference_model}: does not share the policy's tokenizer. {error}"
            ) from None


def check_unchanged(before: Mapping[str, InputDigest], now: Mapping[str, InputDigest]) -> None:
    """Check that a resumed run has the inputs that it started with.

    Args:
        before: Inputs at the start; empty for a run of an earlier version.
    Raises:
        ConfigError: each input that differs.
    """
    problems = []
    for name, item in now.items():
        then = before.get(name)
        if then is not None and then.digest != item.digest:
            sizes = item.size if then.size == item.size else f"{then.size} then, {item.size} now"
            cause = ", its tokenizer or its chat template" if name.endswith("data") else ""
            problems.append(
                f"{name}: the content{cause} has changed since the run began ({sizes}). Resume with what it began "
                "with, or start a new run in another folder."
            )
    if problems:
        raise ConfigError(problems)


def _digest(groups: Sequence[TokenGroup]) -> str:
    total = blake2b(digest_size=_DIGEST_BYTES)
    for group in groups:
        total.update(b"".join(group.keys))
        total.update(repr((group.pairs, group.scores, group.desirable, group.auxiliary)).encode())
        for array in (*group.weights, *group.mismatched):
            total.update(array.tobytes())
    return total.hexdigest()
