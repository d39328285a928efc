"""Names of transformers that need a package of their own: loggers and optimizers."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec

from preftune.errors import did_you_mean

LOGGERS: Mapping[str, str | None] = {
    "none": None,
    "all": None,
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "trackio": "trackio",
    "mlflow": "mlflow",
    "clearml": "clearml",
    "codecarbon": "codecarbon",
    "comet_ml": "comet_ml",
    "dagshub": "dagshub",
    "dvclive": "dvclive",
    "neptune": "neptune",
    "swanlab": "swanlab",
    "azure_ml": None,
    "flyte": None,
    "kubeflow": None,
}
"""Loggers by name, and the package that each needs; None where transformers looks for more than a package."""

_BITSANDBYTES = (
    *("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit"),
    *("ademamix", "ademamix_8bit", "paged_ademamix_8bit", "paged_ademamix_32bit"),
    *("lion_8bit", "lion_32bit", "paged_lion_8bit", "paged_lion_32bit"),
    *("rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit"),
)

OPTIMIZERS: Mapping[str, str | None] = {
    **dict.fromkeys(("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop")),
    **dict.fromkeys(_BITSANDBYTES, "bitsandbytes"),
    **dict.fromkeys(("adamw_torch_4bit", "adamw_torch_8bit"), "torchao"),
    **dict.fromkeys(("schedule_free_adamw", "schedule_free_radam", "schedule_free_sgd"), "schedulefree"),
    "adamw_torch_npu_fused": "torch_npu",
    "adamw_torch_xla": "torch_xla",
    "adamw_anyprecision": "torchdistx",
    "grokadamw": "grokadamw",
    "stable_adamw": "optimi",
}
"""Optimizers by name, and the package that each needs.

Those of transformers that need a list of modules (GaLore, APOLLO) or step inside the backward pass (LOMO) are left out.
"""

_DISTRIBUTIONS = {"optimi": "torch-optimi"}
"""Names under which `pip` installs packages, where they differ from the name of the import."""


def unknown_name(setting: str, name: str, known: Iterable[str], kind: str) -> Iterator[str]:
    """A message if a name is not among the known ones.

    >>> list(unknown_name("optimizer", "adam_8bit", OPTIMIZERS, "optimizer"))
    ['optimizer = adam_8bit: there is no such optimizer. Did you mean adamw_8bit?']
    """
    if name not in known:
        hint = did_you_mean(name, known) or f"Name one of {', '.join(known)}."
        yield f"{setting} = {name}: there is no such {kind}. {hint}"


def missing_loggers(names: Iterable[str]) -> Iterator[str]:
    """Messages about loggers whose package is not installed."""
    for name in names:
        yield from _missing("report_to", name, LOGGERS, "leave it out")


def missing_optimizer(name: str) -> Iterator[str]:
    """A message if the package of the optimizer is not installed."""
    yield from _missing("optimizer", name, OPTIMIZERS, "use adamw_torch")


def _missing(setting: str, name: str, known: Mapping[str, str | None], otherwise: str) -> Iterator[str]:
    package = known.get(name)
    if package is not None and find_spec(package) is None:
        install = f"pip install {_DISTRIBUTIONS.get(package, package)}"
        yield f"{setting} = {name}: needs {package}, which is not installed. Run `{install}`, or {otherwise}."
