"""The checkpoint that a recipe will write, tensor by tensor, before anything is quantized.

    predict_checkpoint(config, "W4A16").file_bytes        # 971,261,368 for EXAONE-4.0-1.2B

follows LLM Compressor 0.14: Linear modules are quantized except the head, a tied embedding is stored once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from exaone_nb import fields
from exaone_nb.anatomy.layouts import expected_tensors, text_config
from exaone_nb.anatomy.layouts.experts import as_linear
from exaone_nb.anatomy.safetensors_layout import Shard, write_plan
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.quantization.arguments import FP8_CACHE
from exaone_nb.quantization.matching import Groups
from exaone_nb.quantization.schemes import UNQUANTIZED_NAMES, QuantArgs, Scheme, find_scheme
from exaone_nb.quantization.stored import StoredTensor, check_fits, fitting, stored_linear
from exaone_nb.tensors import TensorSpec

# LLM Compressor's own limit per file.
SHARD = 20_000_000_000


@dataclass(frozen=True)
class Prediction:
    """The files a save will make. `tied` tells whether the head is read from the embedding."""

    shards: tuple[Shard, ...]
    unquantized_bytes: int  # data bytes of the same model without quantization, in the same dtype
    parameters: int
    tied: bool

    @property
    def tensors(self) -> tuple[StoredTensor, ...]:
        """All tensors in the order of the state dict."""
        return tuple(tensor for shard in self.shards for tensor in shard.tensors)

    @property
    def data_bytes(self) -> int:
        """Bytes of all tensors; the index file calls this total_size."""
        return sum(shard.data_bytes for shard in self.shards)

    @property
    def file_bytes(self) -> int:
        """Bytes of all safetensors files together."""
        return sum(shard.file_bytes for shard in self.shards)

    @property
    def bits_per_parameter(self) -> float:
        """Stored bits per logical parameter, over everything."""
        return self.data_bytes * 8 / self.parameters

    def by_component(self) -> dict[str, int]:
        """Data bytes by component, largest first."""
        totals: Counter[str] = Counter()
        for tensor in self.tensors:
            totals[tensor.component] += tensor.bytes
        return dict(totals.most_common())


def predict_checkpoint(
    config: dict[str, Any],
    scheme: str | dict[str, Any] | Scheme | None = "BF16",
    *,
    targets: Sequence[str] = ("Linear",),
    ignore: Sequence[str] = ("lm_head",),
    config_groups: Sequence[dict[str, Any]] | None = None,
    kv_cache: dict[str, Any] | str | None = None,
    untied_head: bool = False,
    dtype: str = "",
    max_shard_size: int = SHARD,
) -> Prediction:
    """Predict the safetensors files of a checkpoint.

    `scheme` names a preset or gives explicit arguments for all `targets`; `config_groups` replaces both for a mixed
    recipe: a list of {"scheme": ..., "targets": [...]}; which of them a module gets is said in `matching`. `ignore`
    wins over targets. `kv_cache` ("fp8" or explicit arguments) adds scales for the cache. `untied_head` stores a tied
    head a second time, as LLM Compressor before 0.13 did. `dtype` is the model's own (BF16 unless `scheme` is F16 or
    F32).
    Raises WorkbookError for a matrix that does not divide into groups, UsageError for an unknown scheme.
    """
    if max_shard_size < 1:
        got = say("max_shard_size is {max_shard_size}.", max_shard_size=max_shard_size)
        raise UsageError(got, expected="a number of bytes above 0.")
    own_dtype = dtype or (UNQUANTIZED_NAMES.get(scheme.upper()) if isinstance(scheme, str) else "") or "BF16"
    if config_groups is None:
        config_groups = [{"scheme": scheme, "targets": targets}]
    groups = [(find_scheme(group["scheme"]), tuple(group["targets"])) for group in config_groups]
    called_for = expected_tensors(config)
    # LLM Compressor takes experts apart under its preset UNQUANTIZED too; BF16 is the file that it was given.
    if scheme == "UNQUANTIZED" or any(each.weights for each, _ in groups):
        called_for = list(as_linear(called_for))
    plan = _Storage(Groups(groups, ignore), own_dtype)
    tied, specs = _settle_head(called_for, plan, untied_head)
    stored = [tensor for spec in specs for tensor in plan.store(spec)]
    stored += cache_scales(config, specs, kv_cache, own_dtype)
    return Prediction(
        shards=tuple(write_plan(stored, max_shard_size)),
        unquantized_bytes=sum(plan.plain(spec).bytes for spec in called_for),
        parameters=sum(spec.elements for spec in called_for if not spec.buffer),
        tied=tied,
    )


def predict_schemes(
    config: dict[str, Any], schemes: Iterable[str], **options: Any
) -> tuple[dict[str, Prediction], dict[str, WorkbookError]]:
    """(scheme -> its prediction, scheme -> why it does not apply to this model). Raises UsageError for a wrong name.

    Where only the group is too large, the same scheme with the largest group that divides is predicted, under its label.
    """
    found: dict[str, Prediction] = {}
    refused: dict[str, WorkbookError] = {}
    for scheme in schemes:
        try:
            found[scheme] = predict_checkpoint(config, scheme, **options)
        except UsageError:
            raise
        except WorkbookError as error:
            refused[scheme] = error
            for label, fitted in fitted_schemes(config, [scheme]).items():
                with suppress(WorkbookError):
                    found[label] = predict_checkpoint(config, fitted, **options)
    return found, refused


def fitted_schemes(config: dict[str, Any], schemes: Iterable[str]) -> dict[str, str | Scheme]:
    """Label -> scheme. Where a group is too large for this model, the largest that divides takes its place."""
    inputs = {spec.shape[1] for spec in expected_tensors(config) if spec.kind == "linear"}
    found: dict[str, str | Scheme] = {}
    for name in schemes:
        scheme = find_scheme(name)
        fitted = fitting(scheme, inputs)
        found |= {name: name} if fitted is scheme else {fitted.label: fitted}
    return found


@dataclass(frozen=True)
class _Storage:
    groups: Groups[Scheme]
    dtype: str

    def scheme_for(self, module: str, kind: str) -> Scheme | None:
        """The scheme of a module, or None when it stays as it is."""
        scheme = self.groups.value_for(module, kind)
        return scheme if scheme is not None and scheme.weights is not None else None

    def plain(self, spec: TensorSpec) -> StoredTensor:
        return StoredTensor(spec.name, spec.dtype or self.dtype, spec.shape, spec.component, spec.layer)

    def store(self, spec: TensorSpec) -> list[StoredTensor]:
        scheme = self.scheme_for(spec.module, spec.kind)
        if scheme is None:
            return [self.plain(spec)]
        check_fits(spec.module, spec.shape, scheme)
        parts = stored_linear(spec.name.removesuffix(".weight"), spec.shape, scheme, self.dtype)
        return [StoredTensor(p.name, p.dtype, p.shape, spec.component, spec.layer) for p in parts]


def _settle_head(specs: list[TensorSpec], plan: _Storage, untied_head: bool) -> tuple[bool, list[TensorSpec]]:
    """Whether the head stays tied, and the specs with a second table when it does not.

    A tied head is one table in two places. It stays one only when both places are quantized alike (or not at all).
    """
    if any(spec.kind == "head" for spec in specs):
        return False, specs
    table = next(spec for spec in specs if spec.kind == "embedding")
    prefix = "language_model." if table.module.startswith("language_model.") else ""
    head = replace(table, name=f"{prefix}lm_head.weight", module="lm_head", kind="head", component="head")
    alike = plan.scheme_for(table.module, "embedding") == plan.scheme_for(head.module, "head")
    if alike and not untied_head:
        return True, specs
    return False, [*specs, head]


def cache_scales(
    config: dict[str, Any], specs: list[TensorSpec], kv_cache: dict[str, Any] | str | None, dtype: str
) -> list[StoredTensor]:
    """k_scale and v_scale of every attention, [1] or [key-value heads, 1, 1]; none when they are made at run time."""
    if not kv_cache:
        return []
    if isinstance(kv_cache, str):
        if kv_cache.lower() not in ("fp8", "auto"):
            got = say("No KV-cache scheme {kv_cache!r}.", kv_cache=kv_cache)
            raise UsageError(got, expected="fp8, or explicit arguments.")
        kv_cache = FP8_CACHE
    args = QuantArgs.read(kv_cache)
    if args.dynamic:
        return []
    _, key_value, _ = fields.heads(text_config(config))
    shape = (key_value, 1, 1) if args.strategy == "attn_head" else (1,)
    modules = dict.fromkeys(
        (spec.module.rpartition(".")[0], spec.layer)
        for spec in specs
        if spec.component == "attention" and spec.kind == "linear"
    )
    return [
        StoredTensor(f"{module}.{name}", dtype, shape, "attention", layer)
        for module, layer in modules
        for name in ("k_scale", "v_scale")
    ]
