"""The whole reference model: embedding, decoder layers, final norm, output head. Tensor names as in transformers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from exaone_nb.anatomy.arrangements import QK_PRE_LN, QK_REORDER_LN, Arrangement, arrangement_of
from exaone_nb.architecture import masks
from exaone_nb.architecture.layers import DecoderLayer, LayerCache, RMSNorm
from exaone_nb.architecture.shape import SIZES, Shape
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say


@dataclass
class Output:
    """`logits` [batch, query, vocab]; `streams` the residual stream before layer 0, 1, … and after the last."""

    logits: Tensor
    streams: list[Tensor] = field(default_factory=list)


class Decoder(nn.Module):
    """`embed_tokens`, `layers`, `norm` and `lm_head` (None when tied)."""

    def __init__(self, shape: Shape, arrangement: Arrangement = QK_REORDER_LN, seed: int = 0) -> None:
        super().__init__()
        self.shape, self.arrangement = shape, arrangement
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(
            DecoderLayer(shape, layer, arrangement) for layer in range(shape.num_hidden_layers)
        )
        final = arrangement.final_norm
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps) if final else nn.Identity()
        tied = shape.tie_word_embeddings
        self.lm_head = None if tied else nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():  # norms stay at one
            if parameter.dim() == 2 and not parameter.is_meta:
                nn.init.normal_(parameter, std=shape.initializer_range, generator=generator)

    def new_cache(self) -> list[LayerCache]:
        """An empty cache for `forward`, one part per layer."""
        return [LayerCache() for _ in self.layers]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, cache: list[LayerCache] | None = None
    ) -> Output:
        """input_ids [batch, query]; attention_mask [batch, key] over everything seen so far, 0 for padding."""
        past = cache[0].tokens if cache else 0
        slots = torch.arange(past + input_ids.shape[1])
        stream = self.embed_tokens(input_ids) * self.shape.embedding_scale
        streams = [stream]
        for index, layer in enumerate(self.layers):
            mask = masks.visible(slots[past:], slots, self.shape.window_of(index), attention_mask)
            angles = self.angles(slots[None, past:], index)
            stream = layer(stream, angles, mask, cache[index] if cache else None)
            streams.append(stream)
        head = self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        return Output(nn.functional.linear(self.norm(stream), head), streams)

    def angles(self, positions: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """cos and sin of a layer's rotations for `positions` [batch, query]."""
        return self.shape.rope_of(layer).angles(positions, self.shape.head_dim)

    def load(self, tensors: Mapping[str, Tensor]) -> Self:
        """Take weights under transformers' names (`model.layers.0…`), in float32; a Linear gets a bias where there is one.

        Raises WorkbookError when a tensor is missing or left over: then the arrangement is another one.
        """
        own = {name.removeprefix("model."): tensor.float() for name, tensor in tensors.items()}
        if self.shape.norms_less_one:  # Gemma stores its norm weights minus one
            own = {name: tensor + 1 if "norm" in name else tensor for name, tensor in own.items()}
        modules = dict(self.named_modules())
        for name, tensor in own.items():
            module, _, kind = name.rpartition(".")
            if kind == "bias" and isinstance(modules.get(module), nn.Linear):
                modules[module].bias = nn.Parameter(torch.empty_like(tensor))
        if self.lm_head is None:
            own.pop("lm_head.weight", None)
        # A model without memory of its own takes over these tensors; any other copies them.
        empty = self.embed_tokens.weight.is_meta
        missing, unexpected = self.load_state_dict(own, strict=False, assign=empty)
        if missing or unexpected:
            got = say(
                "The weights do not fit {arrangement}: {missing} tensors missing ({first}), {left} left over ({first_left}).",
                arrangement=self.arrangement.name,
                missing=len(missing),
                first=", ".join(missing[:3]),
                left=len(unexpected),
                first_left=", ".join(unexpected[:3]),
            )
            raise WorkbookError(got, remedy="Choose the arrangement that the model was made with.")
        return self


def read_model(folder: str | Path, config: Mapping[str, Any]) -> Decoder:
    """The reference model with the weights of a local folder (safetensors), in float32.

    Raises WorkbookError for a folder without weights, and for a model that the reference modules do not describe.
    """
    from safetensors.torch import load_file

    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        got = say("No safetensors file in {folder}.", folder=Path(folder).name)
        raise WorkbookError(got, expected="a model folder with weights.")
    shape = Shape.from_config(config)  # it refuses what this model cannot be
    tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
    with torch.device("meta"):  # it would be drawn at random first, and stand in memory twice
        empty = Decoder(shape, arrangement_of(config))
    return empty.load(tensors).eval()


def tiny_qwen3() -> tuple[nn.Module, Decoder]:
    """The same random weights in transformers' Qwen3 and in ours: EXAONE 4.0's contrast, with its norms before the blocks."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    # Larger weights than at the start of training, so that they do something.
    sizes = asdict(Shape(initializer_range=0.2))
    names = (*SIZES, "head_dim", "initializer_range")
    torch.manual_seed(0)
    layers = Shape().num_hidden_layers
    config = Qwen3Config(**{n: sizes[n] for n in names}, num_hidden_layers=layers, tie_word_embeddings=False)
    theirs = Qwen3ForCausalLM(config).eval()
    ours = Decoder(Shape.from_config(config.to_dict()), QK_PRE_LN).load(theirs.state_dict())
    return theirs, ours.eval()
