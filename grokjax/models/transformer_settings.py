"""Settings of the transformer, and what each placement of LayerNorm applies norms to."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from grokjax.models.init import SCHEMES
from grokjax.settings import SettingError, Settings, hyper, shape

Placement = Literal[
    "none",
    "attn-pre",
    "pre",
    "mlp-pre",
    "attn-pre-qk",
    "attn-pre-v",
    "pre-v",
    "post",
    "peri",
    "mlp-inpnorm",
    "attn-pre+mlp-inpnorm",
    "attn-pre-qk+mlp-inpnorm",
    "attn-pre-v+mlp-inpnorm",
]


class TransformerSettings(Settings):
    """Transformer read at the answer positions (Power et al. 2022, Nanda et al. 2023, Singh et al. 2026)."""

    kind: Literal["transformer"] = shape("transformer")
    n_layers: int = shape(1, ge=1, le=48)
    """Number of blocks."""
    d_model: int = shape(128, ge=1)
    """Width of the residual stream."""
    n_heads: int = shape(4, ge=1)
    """Number of attention heads; must divide d_model if d_head is null."""
    d_head: Annotated[int, Field(ge=1)] | None = shape(None, introduced=None)
    """Width of a head; null: d_model / n_heads."""
    d_mlp: Annotated[int, Field(ge=1)] | None = shape(512)
    """Width of the MLP; null: no MLP, so that a block is attention only."""
    activation: Literal["relu", "gelu"] = shape("relu")
    """Non-linearity of the MLP (gelu: the exact form with erf)."""
    positions: Literal["learned", "sinusoidal"] = shape("learned")
    """Position embedding; sinusoidal ones are fixed."""
    causal: bool = shape(True)
    """true: a position attends only to itself and earlier ones."""
    ln: Placement = shape("none")
    """Where LayerNorm is applied, named as in source 004 (its `off` is `none`). mlp-inpnorm divides by the length,
    without a gain."""
    ln_kind: Literal["layer", "rms"] = shape("layer")
    """LayerNorm (gain and bias) or RMSNorm (gain)."""
    ln_eps: float = shape(1e-6, ge=0, le=1)
    """Added to the variance; source 004 uses 0."""
    final_ln: bool = shape(False)
    """true: apply a LayerNorm before the output matrix (eps at least 1e-5, as in source 004)."""
    attn_bias: bool = shape(False)
    """Biases of Q, K, V and O."""
    mlp_bias: bool = shape(True)
    """Biases of the MLP."""
    unembed_bias: bool = shape(False)
    """Bias of the logits."""
    tied: bool = shape(False)
    """true: use the first n_classes rows of the embedding as the output matrix."""
    double_residual: bool = shape(False, introduced=False)
    """true: a block adds its input twice, x -> 2x + ..., as a published model does by mistake (Nanda et al.
    2023, repeated subsequence)."""
    dropout: float = shape(0.0, introduced=0.0, ge=0, lt=1)
    """Share of the numbers that are set to 0, while training, in what attention and MLP add to the residual stream; the
    others grow so that the mean stays. Rows then share nothing, so training costs as much as the plain forward pass."""
    init: Literal[tuple(SCHEMES)] = shape("nanda")  # type: ignore[valid-type]
    """Initialisation scheme, named after what it reproduces."""
    init_scale: float = hyper(1.0, gt=0)
    """Factor on every weight matrix, embedding and position at initialisation."""
    readout_scale: float = hyper(1.0, gt=0)
    """Factor on the logits (alpha in source 004)."""

    @model_validator(mode="after")
    def _heads_divide(self) -> TransformerSettings:
        if self.d_head is None and self.d_model % self.n_heads:
            right = [h for h in range(1, self.d_model + 1) if self.d_model % h == 0]
            near = min(right, key=lambda h: abs(h - self.n_heads))
            raise SettingError(
                "n_heads",
                f"{self.n_heads} does not divide d_model = {self.d_model}; use {near}, or set d_head",
            )
        return self

    @model_validator(mode="after")
    def _norms_have_an_mlp(self) -> TransformerSettings:
        if self.d_mlp is None and self.ln not in _WITHOUT_MLP:
            raise SettingError(
                "ln", f"{self.ln} norms an MLP, but d_mlp is null; use {', '.join(_WITHOUT_MLP)}"
            )
        return self

    @property
    def head_width(self) -> int:
        """Width of a head."""
        return self.d_model // self.n_heads if self.d_head is None else self.d_head

    @property
    def d_attention(self) -> int:
        """Width of queries, keys and values of all heads."""
        return self.n_heads * self.head_width

    @property
    def width_of_mlp(self) -> int:
        """Width of the MLP; 0 if there is none."""
        return self.d_mlp or 0


_WITHOUT_MLP: tuple[Placement, ...] = ("none", "attn-pre", "attn-pre-qk", "attn-pre-v")
"""Placements that norm no MLP."""


UNIT_INPUT: dict[str, Placement] = {
    "none": "mlp-inpnorm",
    "mlp-pre": "mlp-inpnorm",
    "attn-pre": "attn-pre+mlp-inpnorm",
    "pre": "attn-pre+mlp-inpnorm",
    "attn-pre-qk": "attn-pre-qk+mlp-inpnorm",
    "attn-pre-v": "attn-pre-v+mlp-inpnorm",
    "pre-v": "attn-pre-v+mlp-inpnorm",
}
"""For a placement without norms, or with norms before sublayers only: the placement that norms attention in the same
way and divides the MLP's input by its length."""


class Norms(NamedTuple):
    """What a placement applies norms to."""

    qk: bool = False
    """The input of queries and keys, by ln1."""
    v: bool = False
    """The input of values, by ln1."""
    mlp: bool = False
    """The input of the MLP, by ln2."""
    unit_mlp: bool = False
    """The input of the MLP, which is divided by its length."""
    after: bool = False
    """What attention and the MLP add to the residual stream, by ln1_out and ln2_out."""
    post: bool = False
    """The residual stream after attention, by ln1, and after the MLP, by ln2."""


PLACEMENTS: dict[Placement, Norms] = {
    "none": Norms(),
    "attn-pre": Norms(qk=True, v=True),
    "pre": Norms(qk=True, v=True, mlp=True),
    "mlp-pre": Norms(mlp=True),
    "attn-pre-qk": Norms(qk=True),
    "attn-pre-v": Norms(v=True),
    "pre-v": Norms(v=True, mlp=True),
    "post": Norms(post=True),
    "peri": Norms(qk=True, v=True, mlp=True, after=True),
    "mlp-inpnorm": Norms(unit_mlp=True),
    "attn-pre+mlp-inpnorm": Norms(qk=True, v=True, unit_mlp=True),
    "attn-pre-qk+mlp-inpnorm": Norms(qk=True, unit_mlp=True),
    "attn-pre-v+mlp-inpnorm": Norms(v=True, unit_mlp=True),
}
