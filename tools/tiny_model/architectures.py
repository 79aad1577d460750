"""The shapes of the tiny models: sizes, and tensor names as in published checkpoints of the architecture."""

from dataclasses import dataclass
from typing import Any, Literal

Shape = Literal["llama", "exaone"]
CONTEXT_TOKENS = 4096
LAYERS = 2


@dataclass(frozen=True)
class Architecture:
    """Sizes of one shape, and the names that its tensors have in published checkpoints."""

    model_class: str
    head_size: int
    heads: int
    kv_heads: int
    intermediate: int
    embed: str
    final_norm: str
    layer: str
    """Prefix of a layer's tensors, `{}` standing for its number."""
    norms: tuple[str, str]
    q: str
    k: str
    v: str
    o: str
    gate: str
    up: str
    down: str
    config: dict[str, Any]
    """Keys of config.json that only this shape has."""

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return self.head_size * self.heads

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """The matrices of a layer by name, each as (rows, columns)."""
        kv = self.head_size * self.kv_heads
        return {
            self.q: (self.hidden, self.hidden),
            self.k: (kv, self.hidden),
            self.v: (kv, self.hidden),
            self.o: (self.hidden, self.hidden),
            self.gate: (self.intermediate, self.hidden),
            self.up: (self.intermediate, self.hidden),
            self.down: (self.hidden, self.intermediate),
        }


ARCHITECTURES: dict[Shape, Architecture] = {
    "llama": Architecture(
        model_class="LlamaForCausalLM",
        head_size=64,
        heads=2,
        kv_heads=1,
        intermediate=256,
        embed="model.embed_tokens",
        final_norm="model.norm",
        layer="model.layers.{}",
        norms=("input_layernorm", "post_attention_layernorm"),
        q="self_attn.q_proj",
        k="self_attn.k_proj",
        v="self_attn.v_proj",
        o="self_attn.o_proj",
        gate="mlp.gate_proj",
        up="mlp.up_proj",
        down="mlp.down_proj",
        config={"hidden_act": "silu", "rms_norm_eps": 1e-5},
    ),
    # Class, tensor names and head size of EXAONE 3.5 2.4B. Its own model_type needs trust_remote_code. With Llama's
    # model_type the same class loads without it, because the config has all keys that the class reads.
    "exaone": Architecture(
        model_class="ExaoneForCausalLM",
        head_size=80,
        heads=4,
        kv_heads=2,
        intermediate=320,
        embed="transformer.wte",
        final_norm="transformer.ln_f",
        layer="transformer.h.{}",
        norms=("ln_1", "ln_2"),
        q="attn.attention.q_proj",
        k="attn.attention.k_proj",
        v="attn.attention.v_proj",
        o="attn.attention.out_proj",
        gate="mlp.c_fc_0",
        up="mlp.c_fc_1",
        down="mlp.c_proj",
        config={"activation_function": "silu", "layer_norm_epsilon": 1e-5, "num_layers": LAYERS},
    ),
}
