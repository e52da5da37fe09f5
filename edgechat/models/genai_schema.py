"""The allow list for `genai_config.json`: every section, every key, and its permitted values.

onnxruntime-genai passes most options straight to onnxruntime, including some that write files to a path chosen by the
model, load native code or read files elsewhere, and each release adds more. So options must be known to be harmless.
The keys are those accepted by version 0.18, determined by testing. Sections for other kinds of models (audio,
translation) and profiles that replace the graphs are left out.

File names are of kind `FILE` here; `genai_config` checks whether they are inside the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_MOST = 2**31 - 1
_LONGEST_NAME = 300


@dataclass(frozen=True, slots=True)
class Number:
    """A number within inclusive bounds; an integer unless stated otherwise."""

    low: float
    high: float
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Text:
    """A string: one of these words, or matching a pattern."""

    pattern: re.Pattern[str]
    said: str


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of at most `most` values of one kind."""

    each: Rule
    most: int


@dataclass(frozen=True, slots=True)
class OneOf:
    """A value of one of several kinds."""

    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with at most `most` keys chosen by the model, whose values are of one kind."""

    each: Rule
    most: int


Section = Mapping[str, "Rule"]
Rule = Literal["flag", "file", "name"] | Number | Text | ListOf | OneOf | MapOf | Section

FLAG: Literal["flag"] = "flag"
FILE: Literal["file"] = "file"
NAME: Literal["name"] = "name"


def _keys(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


def _choice(*words: str) -> Text:
    return Text(re.compile("|".join(map(re.escape, words))), "one of " + ", ".join(words))


_SWITCH = _choice("0", "1")
_DIGITS = Text(re.compile(r"\d{1,15}"), "a whole number in quotes")
_WORD = Text(re.compile(r"[\w.:/ -]{0,100}"), "a short word")
_COUNT = Number(0, _MOST)
_TOKEN = Number(-1, _MOST)
"""A token id; -1 means none."""

_PROVIDERS: Section = {
    # What the official builder writes for each device. This onnxruntime is CPU-only and rejects the others.
    **_keys({}, "cpu CPU"),
    **_keys({"enable_cuda_graph": _SWITCH}, "cuda CUDA NvTensorRtRtx"),
    **_keys({"enable_graph_capture": _SWITCH}, "dml DML"),
    **_keys({"enableGraphCapture": _SWITCH, "validationMode": _choice("disabled", "basic")}, "webgpu WebGPU"),
}

SESSION_OPTIONS: Section = {
    "provider_options": ListOf(_PROVIDERS, 8),
    "log_id": _WORD,
    **_keys(Number(0, 1024), "intra_op_num_threads inter_op_num_threads"),
    **_keys(Number(-1, 1000), "log_severity_level log_verbosity_level"),
    **_keys(FLAG, "enable_cpu_mem_arena enable_mem_pattern"),
    "graph_optimization_level": _choice(
        "ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_LAYOUT", "ORT_ENABLE_ALL"
    ),
    # The rest are onnxruntime's own options: how it computes, never where it reads or writes.
    **_keys(
        _SWITCH,
        "session.disable_prepacking session.use_env_allocators session.set_denormal_as_zero session.disable_quant_qdq"
        " session.disable_double_qdq_remover session.enable_quant_qdq_cleanup session.disable_aot_function_inlining"
        " session.inter_op.allow_spinning session.intra_op.allow_spinning session.force_spinning_stop"
        " session.strict_shape_type_inference session.allow_released_opsets_only session.disable_qdq_constant_folding"
        " session.use_device_allocator_for_initializers session.disable_cpu_ep_fallback session.qdqisint8allowed"
        " session.use_deterministic_compute session.enable_dq_matmulnbits_fusion session.x64quantprecision"
        " session.prepack.enable_parallel session.enable_qdq_matmulnbits_fusion"
        " optimization.enable_gelu_approximation optimization.enable_cast_chain_elimination"
        " mlas.disable_kleidiai mlas.enable_gemm_fastmath_arm64_bfloat16 mlas.use_lut_gemm mlas.qnbit.force_fp32"
        " ep.cuda.fpa_intb_gemm",
    ),
    **_keys(
        _DIGITS,
        "session.dynamic_block_base session.qdq_matmulnbits_accuracy_level session.qdq_matmulnbits_block_size"
        " session.graph_optimizations_loop_level session.intra_op.spin_duration_us session.inter_op.spin_duration_us"
        " session.intra_op.spin_backoff_max session.inter_op.spin_backoff_max"
        " optimization.constant_folding_max_output_size_in_bytes",
    ),
    "optimization.minimal_build_optimizations": _choice("", "save", "apply"),
    "optimization.disable_specified_optimizers": Text(re.compile(r"[\w;, ]{0,500}"), "names of optimizers"),
}

RUN_OPTIONS: Section = {
    "memory.enable_memory_arena_shrinkage": Text(re.compile(r"[a-z]{2,8}:\d(;[a-z]{2,8}:\d)*"), "names of devices"),
    **_keys(_SWITCH, "disable_synchronize_execution_providers"),
}

_RUNS: Section = {"session_options": SESSION_OPTIONS, "run_options": RUN_OPTIONS}

_GRAPH: Section = {**_RUNS, "filename": FILE, **_keys(ListOf(NAME, 10_000), "inputs outputs")}
_STAGE: Section = {
    **_GRAPH,
    **_keys(FLAG, "run_on_prompt run_on_token_gen is_lm_head inherit_session_options"),
    "reset_session_idx": Number(-1, 1000),
    "output_names_forwarder": MapOf(NAME, 10_000),
}


def _pipeline(stage: Section) -> Rule:
    """Stages by name, in one object or in a list of objects."""
    return OneOf((ListOf(MapOf(stage, 64), 64), MapOf(stage, 64)))


_SHARED: Section = {
    **_keys(NAME, "name"),
    "data_file": FILE,
    **_keys(_DIGITS, "offset length"),
    "data_type": Number(0, 100),
    "shape": ListOf(_COUNT, 8),
}

_SHAPE: Section = {
    **_keys(Number(0, 1_000_000), "hidden_size head_size num_attention_heads num_key_value_heads"),
    "num_hidden_layers": Number(0, 10_000),
}

_DECODER_INPUTS = _keys(
    NAME,
    "attention_mask attention_metadata block_table block_table_windowed cache_indirection cross_past_key_names"
    " cross_past_value_names cumulative_sequence_lengths current_sequence_length encoder_attention_mask"
    " encoder_hidden_states hidden_states input_ids inputs_embeds logits_indices lstm_cell_state lstm_hidden_state"
    " past_conv_names past_key_names past_key_scale_names past_key_values_length past_names past_recurrent_names"
    " past_sequence_length past_sequence_lengths past_value_names past_value_scale_names per_layer_inputs position_ids"
    " rnn_states_prev state_update_active state_update_capture_count targets targets_length total_sequence_length",
)
_DECODER_OUTPUTS = _keys(
    NAME,
    "aux_hidden_states hidden_states logits lstm_cell_state lstm_hidden_state output_cross_qk_names outputs"
    " outputs_length present_conv_names present_key_names present_key_scale_names present_names"
    " present_recurrent_names present_value_names present_value_scale_names rnn_states state_update_conv_value_names"
    " state_update_recurrent_capsule_names",
)

_DECODER: Section = {
    **_RUNS,
    **_SHAPE,
    "filename": FILE,
    "conv_cache_size": Number(0, 10_000),
    "inputs": _DECODER_INPUTS,
    "outputs": _DECODER_OUTPUTS,
    "layer_types": ListOf(NAME, 10_000),
    "pipeline": _pipeline(_STAGE),
    "shared_initializers": ListOf(_SHARED, 10_000),
    "sliding_window": {
        "window_size": _COUNT,
        "pad_value": Number(-_MOST, _MOST),
        "alignment": _choice("left", "right"),
        **_keys(FLAG, "slide_key_value_cache slide_inputs"),
        "cache_slack": _COUNT,
        "layers": ListOf(Number(0, 10_000), 10_000),
    },
    "state_groups": ListOf(
        {
            "kind": _WORD,
            "layer_ids": ListOf(Number(0, 10_000), 10_000),
            "bindings": MapOf(OneOf((NAME, MapOf(NAME, 100))), 100),
            "state_update": {
                "enabled": FLAG,
                **_keys(_COUNT, "capacity key_head_count"),
                **_keys(NAME, "kind value capsule capture_count active"),
            },
        },
        1000,
    ),
    "state_update_capacity": _COUNT,
}

# Parts that may be declared for a decoder but are not needed for text.
_PART: Section = {**_RUNS, "filename": FILE, "inputs": MapOf(NAME, 100), "outputs": MapOf(NAME, 100)}
_VISION: Section = {
    **_PART,
    **_keys(FILE, "config_filename adapter_filename"),
    **_keys(Number(0, 1_000_000), "spatial_merge_size patch_size num_visual_tokens window_size max_num_patches"),
    "tokens_per_second": Number(0, 1e6, whole=False),
    "pipeline": _pipeline({**_GRAPH, "run_on_cpu": FLAG}),
}
_MTP: Section = {
    **_PART,
    "enabled": FLAG,
    "main_hidden_states": NAME,
    **_keys(Number(1, 1_000_000), "num_hidden_layers num_key_value_heads head_size"),
    "shared_initializers": ListOf(_SHARED, 10_000),
}

_MODEL: Section = {
    "type": NAME,
    "tokenizer_dir": _choice("", "."),
    "context_length": Number(1, 100_000_000),
    "vocab_size": Number(0, 100_000_000),
    "eos_token_id": OneOf((_TOKEN, ListOf(_TOKEN, 1000))),
    **_keys(
        _TOKEN,
        "pad_token_id bos_token_id sep_token_id decoder_start_token_id image_token_id audio_token_id boa_token_id"
        " video_token_id vision_start_token_id bot_token_id eot_token_id bor_token_id eor_token_id",
    ),
    "decoder": _DECODER,
    "draft": _DECODER,
    "mtp": _MTP,
    "encoder": {**_PART, **_SHAPE},
    "embedding": _PART,
    "vision": _VISION,
    "speech": {**_PART, **_keys(FILE, "config_filename adapter_filename")},
}

_SEARCH: Section = {
    **_keys(Number(0, 100_000_000), "min_length max_length chunk_size"),
    **_keys(Number(0, 1000), "batch_size num_beams num_return_sequences"),
    **_keys(Number(0, _MOST), "top_k no_repeat_ngram_size"),
    "random_seed": Number(-_MOST, _MOST),
    **_keys(
        Number(-1e6, 1e6, whole=False),
        "top_p temperature repetition_penalty length_penalty diversity_penalty blank_penalty",
    ),
    **_keys(FLAG, "do_sample past_present_share_buffer early_stopping"),
}

_ENGINE: Section = {
    "dynamic_batching": {
        **_keys(Number(1, _MOST), "block_size num_blocks max_scheduled_tokens dflash2_max_snapshots"),
        "max_batch_size": Number(1, 100_000),
        "gpu_utilization_factor": Number(0, 1, whole=False),
        "prefix_caching": FLAG,
    },
    "static_batching": {"max_batch_size": Number(1, 100_000)},
}

_SPECULATIVE: Section = {
    "max_draft_tokens": Number(1, 16),
    **_keys(Number(0, 16), "ngram_size min_adaptive_k"),
    **_keys(FLAG, "ngram_chained_lookup cooldown"),
}

ROOT: Section = {"model": _MODEL, "search": _SEARCH, "engine": _ENGINE, "speculative": _SPECULATIVE}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing in a configuration that is not allowed.

    Attributes:
        place: Dotted path: "model.decoder.session_options.x".
        value: The value found.
        expected: What the value may be, in words; empty if the key itself is unknown.
    """

    place: str
    value: object
    expected: str = ""


def fault_in(value: object, rule: Rule = ROOT, place: str = "") -> Fault | None:
    """Check a part of a configuration.

    Args:
        value: The JSON value.
        rule: What it may be.
        place: Its dotted path, for the fault.

    Returns:
        The first fault, or None.
    """
    match rule:
        case Number():
            expected = f"a {'whole ' if rule.whole else ''}number from {rule.low:,.0f} to {rule.high:,.0f}"
            return None if _is_number(value, rule) else Fault(place, value, expected)
        case Text():
            fits = isinstance(value, str) and rule.pattern.fullmatch(value) is not None
            return None if fits else Fault(place, value, rule.said)
        case OneOf():
            faults = [fault_in(value, one, place) for one in rule.rules]
            if None in faults:
                return None
            # For a list or an object, the deepest fault is the most informative.
            return max((fault for fault in faults if fault is not None), key=lambda fault: len(fault.place))
        case ListOf():
            if not isinstance(value, list) or len(value) > rule.most:
                return Fault(place, value, f"a list of up to {rule.most:,}")
            parts = [(f"{place}[{index}]", part, rule.each) for index, part in enumerate(value)]
        case MapOf():
            if not isinstance(value, dict) or len(value) > rule.most:
                return Fault(place, value, f"an object of up to {rule.most:,} names")
            parts = [(f"{place}.{key}", part, rule.each) for key, part in value.items()]
        case "flag":
            return None if isinstance(value, bool) else Fault(place, value, "true or false")
        case "file" | "name":
            fits = isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable()
            return None if fits else Fault(place, value, f"a name of up to {_LONGEST_NAME} letters")
        case _:
            if not isinstance(value, dict):
                return Fault(place, value, "an object")
            parts = []
            for key, part in value.items():
                where = f"{place}.{key}" if place else key
                if key not in rule:
                    return Fault(where, part)
                parts.append((where, part, rule[key]))
    return next((fault for where, part, each in parts if (fault := fault_in(part, each, where)) is not None), None)


def _is_number(value: object, rule: Number) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # The engine accepts 1.0 as an integer too; comparisons with NaN are false.
    return rule.low <= value <= rule.high and (not rule.whole or value == int(value))
