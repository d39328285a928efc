"""Small configurations of any model of transformers, by the names of their fields."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PretrainedConfig

__all__ = ["NUM_LAYERS", "VOCABULARY_SIZE", "tiny_configs"]

VOCABULARY_SIZE = 97
NUM_LAYERS = 4
_WIDTH, _HEADS, _KEY_HEADS, _HEAD_WIDTH = 32, 4, 2, 8

_SIZES: tuple[tuple[str, int], ...] = (
    (r"(text_)?vocab_size|vocab_size_per_layer_input|entity_vocab_size", VOCABULARY_SIZE),
    (r"num_key_value_heads|num_kv_heads|multi_query_group_num|n_head_kv|num_global_key_value_heads", _KEY_HEADS),
    (r"swa_num_key_value_heads|num_query_groups", _KEY_HEADS),
    (r"(encoder|decoder)_attention_heads|num_(attention_|query_|swa_attention_)?heads|n_heads?", _HEADS),
    (r"mamba_n_heads|mamba_num_heads|ssm_num_heads|num_v_heads|linear_num_(key|value)_heads|index_n_heads", _HEADS),
    (r"mamba_d_head|mamba_head_dim", 2 * _WIDTH // _HEADS),
    (r"(swa_|global_|linear_(key|value)_|index_)?head_dim|attention_head_size|kv_channels|d_kv", _HEAD_WIDTH),
    (r"qk_(rope|nope)_head_dim|v_head_dim|swa_v_head_dim", _HEAD_WIDTH),
    (r"qk_head_dim", 2 * _HEAD_WIDTH),
    (r"rotary_dim|index_topk", 4),
    (r"(q|kv|o)_lora_rank|o_groups_rank", 16),
    (r"hidden_size|d_model|n_embd|embed_dim|embedding_size|word_embed_proj_dim|emb_dim|dim|lru_width", _WIDTH),
    (r"attention_hidden_size|hidden_size_per_layer_input", _WIDTH),
    (r"mamba_d_ssm", 2 * _WIDTH),
    (r"num_hidden_layers|n_layers?|num_layers|num_decoder_layers|(encoder|decoder)_layers", NUM_LAYERS),
    (r"num_(kv_shared|nextn_predict|mtp)_layers|num_nextn_predict_layers|num_kv_shared_layers", 0),
    (r"n_group|topk_group|n_shared_experts|num_shared_experts|n_groups|mamba_n_groups|first_k_dense_replace", 1),
    (r".*(intermediate_size|ffn_dim|ffn_hidden_size).*|n_inner|d_ff|ff_dim|d_inner", 48),
    (r"(num|n)_experts_per_tok(en)?|moe_k|moe_topk|top_k_experts|num_selected_experts|experts_per_token", 2),
    (r"num_(local_)?experts|n_routed_experts|moe_num_experts|num_routed_experts|ffn_num_experts", 4),
    (r"state_size|mamba_d_state|ssm_state_size|mamba_state_size|time_step_rank|mamba_dt_rank", 8),
    (r"sliding_window(_size)?|attention_window_size|window_size|attention_chunk_size", 8),
    (r"local_attention(_window)?", 8),
    (r"max_position_embeddings|n_positions|n_ctx|max_seq_len|max_sequence_length|context_length", 128),
    (r"attn_layer_offset|attention_layer_offset", 1),
    (r"(attn|attention)_layer_period|full_attention_interval|num_dense_layers|decoder_sparse_step", 2),
    (r"index_block_size", 4),
    (r"index_topk_blocks|index_local_blocks", 1),
    (r"pad_token_id", 0),
    (r"bos_token_id", 1),
    (r"(eos|sep|decoder_start)_token_id", 2),
)
_ALWAYS: Mapping[str, Any] = {"is_decoder": True, "use_mamba_kernels": False, "add_cross_attention": False}
_ATTEMPTS: tuple[Mapping[str, Any], ...] = (
    {},
    {"num_key_value_heads": _HEADS},
    {"head_dim": None},
    {"head_dim": 2 * _HEAD_WIDTH},
    {"topk_method": "greedy"},
)
_OF_CLASSES: Mapping[str, Mapping[str, Any]] = {
    "lfm2": {"layer_types": ["conv", "full_attention"] * (NUM_LAYERS // 2)},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * (NUM_LAYERS // 2)},
    "bamba": {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * (NUM_LAYERS // 2)},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"] * (NUM_LAYERS // 2)},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 16]},
    "minimax_m3_vl_text": {"layer_types": ["full_attention", "minimax_m3_sparse"] * (NUM_LAYERS // 2)},
    "dots1": {"n_shared_experts": 1},
}
"""Values of fields by model type, mainly to keep mixed models mixed."""
_UNSET = re.compile(r"(pad|bos|eos|sep)_token_id|n_inner|n_routed_experts|num_experts_per_tok")
"""Fields that are given a size even where their default is None."""
_PATTERNS = [(re.compile(pattern), value) for pattern, value in _SIZES]
_ROPE_SECTIONS = ("mrope_section", "xdrope_section")


def tiny_configs(config_class: type[PretrainedConfig]) -> Iterator[PretrainedConfig]:
    """Small configurations that the class accepts, the most typical first.

    Raises:
        Exception: the last error of the class, if it rejects all.
    """
    refusal: Exception | None = None
    accepted = 0
    for changes in _ATTEMPTS:
        for keeps_lists in (False, True):
            try:
                yield config_class(**_settings(config_class, changes, keeps_lists=keeps_lists))
                accepted += 1
            except Exception as error:  # Each class checks in its own way.
                refusal = error
    if refusal is not None and accepted == 0:
        raise refusal


def _settings(config_class: type[PretrainedConfig], changes: Mapping[str, Any], *, keeps_lists: bool) -> dict[str, Any]:
    """Small values for those fields of the class that set a size, parts included."""
    default = config_class()
    settings: dict[str, Any] = {}
    for name, value in vars(default).items():
        if isinstance(value, PretrainedConfig):
            settings[name] = _settings(type(value), changes, keeps_lists=keeps_lists)
        elif name in changes and not name.startswith("_"):
            settings[name] = changes[name]
        elif not name.startswith("_") and (small := _small(name, value, keeps_lists=keeps_lists)) is not None:
            settings[name] = small
    settings.update(_OF_CLASSES.get(config_class.model_type, {}))
    return settings


def _small(name: str, value: Any, *, keeps_lists: bool) -> Any:
    """A small value for a field, or None to leave it at its default."""
    if name in _ALWAYS:
        return _ALWAYS[name]
    if name in ("rope_parameters", "rope_scaling") and isinstance(value, dict):
        return _small_rope(value)
    if isinstance(value, list) and len(value) > NUM_LAYERS and keeps_lists:
        return [size if (size := _size_of(name)) is not None else item for item in value[:NUM_LAYERS]]
    if isinstance(value, list) and value and all(type(item) is int for item in value) and _size_of(name) is not None:
        return [_size_of(name)] * min(len(value), NUM_LAYERS)
    is_size = type(value) is int or (value is None and _UNSET.fullmatch(name))
    return _size_of(name) if is_size else None


def _size_of(name: str) -> int | None:
    return next((size for pattern, size in _PATTERNS if pattern.fullmatch(name)), None)


def _small_rope(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The same rotary embedding with its sections cut to the small heads."""
    small = {name: _small_rope(value) if isinstance(value, dict) else value for name, value in parameters.items()}
    if small.get("rope_theta", 1.0) is None:
        small["rope_theta"] = 1e4
    for name in _ROPE_SECTIONS:
        if small.get(name):
            sections = len(small[name])
            small[name] = [_HEAD_WIDTH // 2 - (sections - 1), *[1] * (sections - 1)]
    return small
