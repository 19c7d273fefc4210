"""Groups of parameters, for settings that can differ between groups, such as weight decay."""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax
from jaxtyping import PyTree

ParameterGroup = Literal["embedding", "matrices", "unembedding", "rest"]
GROUPS: tuple[ParameterGroup, ...] = get_args(ParameterGroup)

_BY_NAME: dict[str, ParameterGroup] = {
    "W_E": "embedding",
    "W_pos": "embedding",
    "W_U": "unembedding",
}


def groups_of(params: PyTree) -> PyTree[ParameterGroup]:
    """The ParameterGroup of each tensor: by its name, else `matrices` for two or more dimensions, else `rest`."""

    def group(path: tuple[Any, ...], tensor: Any) -> ParameterGroup:
        return _BY_NAME.get(path[-1].key, "matrices" if tensor.ndim >= 2 else "rest")

    return jax.tree_util.tree_map_with_path(group, params)
