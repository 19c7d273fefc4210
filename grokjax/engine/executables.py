"""What a program was compiled to, or would be on another platform."""

from __future__ import annotations

import hashlib
import re

import jax
import jax.export

from grokjax.engine.program import Program


def compiled_text(program: Program) -> str:
    """The compiled program that trains, as HLO."""
    return program.training.lower(*program.abstract_inputs()).compile().as_text() or ""


def executable_hash(program: Program) -> str:
    """Of the compiled program that trains. On a GPU another compilation can choose other kernels, so other bits."""
    # Without where in the source operations come from, which differs between a new program and one from the cache.
    operations = [line for line in compiled_text(program).splitlines() if " = " in line]
    text = re.sub(r", metadata=\{[^}]*\}", "", "\n".join(operations))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def exported(program: Program, platform: str) -> str:
    """The program that trains as StableHLO for cuda or tpu; needs no such device."""
    inputs = program.abstract_inputs()
    return jax.export.export(program.training, platforms=[platform])(*inputs).mlir_module()
