"""Identity of a reference: a digest of everything that its log-probs depend on beside the tokens."""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
import transformers
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from preftune.model.forward.arithmetic import Arithmetic, type_name
from preftune.model.reference.reference import AdapterOff, FrozenCopy, KeptAdapter, Reference
from preftune.planning.sizes import Layout

_DIGEST_BYTES = 16
_MAX_THREADS = 8
_IN_CONFIG_ONLY = frozenset(
    {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "use_cache"}
)
"""Settings of a model that change nothing of what it computes; its type is in its weights."""
_IN_ADAPTER_ONLY = frozenset({"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision"})
"""The same for an adapter."""
_WRAPPERS = frozenset({"base_layer", "original_module"})
"""Names of modules that peft puts around those of the base model."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A reference, as far as its log-probs are concerned.

    Args:
        digest: Equal for two references only if they compute the same. 16 bytes.
        name: Name or path of the model, for people.
        description: Precision, device and layout, for people.
    """

    digest: bytes
    name: str
    description: str


def fingerprint_reference(
    reference: Reference, policy: PreTrainedModel | PeftModel, *, arithmetic: Arithmetic, layout: Layout
) -> Fingerprint:
    """The fingerprint of the model that `reference` runs.

    A base model has one and the same whether it is the reference by itself or behind a switched-off adapter.

    Args:
        reference: One that computes log-probs.
        policy: The model in training, as `Reference.logps` takes it.
        arithmetic: Device and precision.
        layout: Layout of its batches.
    """
    model, adapters = _frozen(reference, policy)
    return fingerprint_model(model, adapters, arithmetic=arithmetic, layout=layout)


def fingerprint_model(
    model: PreTrainedModel | PeftModel, adapters: Collection[str] = (), *, arithmetic: Arithmetic, layout: Layout
) -> Fingerprint:
    """The fingerprint of a model with some of its adapters on.

    It covers names, shapes, types and bytes of all weights and buffers; the model's class and config; the config of
    the adapters; the version of transformers, whose code the model runs; device, autocast and layout, which round
    differently.

    Args:
        model: With all its weights: not sharded.
        adapters: Names of those that are on.
        arithmetic: Device and precision.
        layout: Layout of its batches.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(base, PreTrainedModel), type(base).__name__
    total = blake2b(digest_size=_DIGEST_BYTES)
    total.update(_facts(model, base, adapters, arithmetic, layout).encode())
    for part in _digests(_tensors(model, adapters)):
        total.update(part)
    weights = ", ".join(sorted({type_name(parameter.dtype) for parameter in base.parameters()}))
    description = f"{weights} weights, {arithmetic}, {layout}"
    return Fingerprint(total.digest(), str(base.config.name_or_path), description)


def digest_weights(model: PreTrainedModel | PeftModel, adapters: Collection[str] = ()) -> bytes:
    """Digest of names, shapes, types and bytes of the weights alone, equal on every device. 16 bytes.

    Args:
        model: With all its weights: not sharded.
        adapters: Names of the adapters that count.
    """
    total = blake2b(digest_size=_DIGEST_BYTES)
    for part in _digests(_tensors(model, adapters, with_buffers=False)):
        total.update(part)
    return total.digest()


def _digests(tensors: Iterator[tuple[str, Any]]) -> Iterator[bytes]:
    """Name and digest of each tensor, sorted by name."""
    ordered = sorted(tensors, key=lambda item: item[0])
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        for (name, _), digest in zip(ordered, pool.map(_digest, (tensor for _, tensor in ordered)), strict=True):
            yield name.encode() + b"\0" + digest


def _frozen(
    reference: Reference, policy: PreTrainedModel | PeftModel
) -> tuple[PreTrainedModel | PeftModel, Collection[str]]:
    """The model that is run, and the adapters that are on."""
    match reference:
        case FrozenCopy(model):
            return model, model.active_adapters if isinstance(model, PeftModel) else ()
        case AdapterOff():
            return policy, ()
        case KeptAdapter(kept=kept):
            return policy, (kept,)
    raise TypeError(f"{type(reference).__name__} runs no model, so there is nothing to tell apart.")


def _facts(
    model: PreTrainedModel | PeftModel,
    base: nn.Module,
    adapters: Collection[str],
    arithmetic: Arithmetic,
    layout: Layout,
) -> str:
    peft_configs = [model.peft_config[name].to_dict() for name in adapters] if isinstance(model, PeftModel) else []
    facts = {
        "class": f"{type(base).__module__}.{type(base).__qualname__}",
        "config": _without(model.config.to_dict(), _IN_CONFIG_ONLY),
        "adapters": [_without(config, _IN_ADAPTER_ONLY) for config in peft_configs],
        "transformers": ".".join(transformers.__version__.split(".")[:2]),
        "arithmetic": str(arithmetic),
        "layout": layout,
        # Packed rows bring their own.
        "attention": model.config._attn_implementation if layout == "sequences" else None,
    }
    return json.dumps(facts, sort_keys=True, default=_plain)


def _without(config: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {
        str(name): _without(value, names) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in names
    }


def _plain(value: Any) -> Any:
    """A value that JSON cannot represent."""
    return sorted(map(str, value)) if isinstance(value, (set, frozenset)) else str(value)


def _tensors(
    model: PreTrainedModel | PeftModel, adapters: Collection[str], *, with_buffers: bool = True
) -> Iterator[tuple[str, Any]]:
    """Weights and buffers by the names that they have in the base model; those of adapters that are off left out."""
    all_adapters = set(model.peft_config) if isinstance(model, PeftModel) else set()
    # The state holds what quantized weights need beside themselves, the buffers what is not saved.
    buffers = dict(model.named_buffers()) if with_buffers else {}
    for name, tensor in {**buffers, **model.state_dict()}.items():
        parts = name.split(".")
        owners = all_adapters.intersection(parts)
        if owners.issubset(adapters):
            yield _plain_name(parts, owners) if isinstance(model, PeftModel) else name, tensor


def _plain_name(parts: list[str], owners: set[str]) -> str:
    in_base = parts[2:] if parts[:2] == ["base_model", "model"] else parts
    return ".".join(part for part in in_base if part not in _WRAPPERS and part not in owners)


def _digest(tensor: Any) -> bytes:
    if not isinstance(tensor, Tensor):
        return blake2b(repr(tensor).encode(), digest_size=_DIGEST_BYTES).digest()
    whole = tensor.detach().contiguous().cpu()
    digest = blake2b(f"{type_name(whole.dtype)} {tuple(whole.shape)}".encode(), digest_size=_DIGEST_BYTES)
    digest.update(whole.reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()
