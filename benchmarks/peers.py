"""Who is measured beside whom, on which workload."""

from __future__ import annotations

from typing import Any

import jax

from benchmarks import jax_peers, limits, torch_peers, torch_seeds
from benchmarks.timing import Peer, measure
from benchmarks.workloads import WORKLOADS, Workload

STACKED = 4
"""Runs of the peers that train several at once."""
MANY = 16
"""As many as the code whose style is measured trains at once."""
ALONE = ["C full"]
"""Workloads on which they would take minutes a measurement; the fastest of them, the scan, is measured there too."""


def peers_of(w: Workload) -> list[Peer]:
    """grokjax and everything that a user could pick instead."""
    d = jax.device_count()
    found = [
        Peer("grokjax", lambda: jax_peers.engine(w, d)),
        Peer("PyTorch loop, well written", lambda: torch_peers.well_written(w)),
        Peer("PyTorch loop, torch.compile", lambda: torch_peers.well_written(w, compiled=True)),
        Peer("PyTorch loop, as usual", lambda: torch_peers.as_usual(w)),
        Peer(f"torch.func, {STACKED} runs", lambda: torch_peers.stacked(w, STACKED)),
        Peer(
            f"PyTorch, seed axis by einsum, {STACKED} runs", lambda: torch_seeds.by_hand(w, STACKED)
        ),
        Peer(f"PyTorch, seed axis by einsum, {MANY} runs", lambda: torch_seeds.by_hand(w, MANY)),
        Peer(f"plain vmap, {STACKED} runs", lambda: jax_peers.plain(w, STACKED, scan=False)),
        Peer(
            f"plain vmap and scan, {STACKED} runs", lambda: jax_peers.plain(w, STACKED, scan=True)
        ),
    ]
    if w.name in ALONE:
        return [p for p in found if " runs" not in p.name or "scan" in p.name]
    return found


def side_by_side(name: str, repeats: int) -> dict[str, Any]:
    """All peers on one workload, and the limits of the machine measured just before and after."""
    w = WORKLOADS[name]
    before = limits.peak()
    peers = peers_of(w)
    measure(peers, repeats)
    peak = (before + limits.peak()) / 2
    return {
        "title": w.title,
        "peak_gflops": round(peak / 1e9),
        "naive_gflop_per_step": round(limits.naive_flops(w) / 1e9, 4),
        "shared_gflop_per_step": round(limits.shared_flops(w) / 1e9, 4),
        "naive_limit": round(peak / limits.naive_flops(w), 2),
        "shared_limit": round(peak / limits.shared_flops(w), 2),
        "rows": [
            {
                "peer": p.name,
                "rate": round(p.rate, 2),
                "first_seconds": round(p.first_seconds, 1),
                "rates": [round(r, 2) for r in p.rates],
                "failed": p.failed,
            }
            for p in peers
        ],
    }


def curve(repeats: int) -> list[dict[str, Any]]:
    """Rates by the number of slots, in narrow tiles (the default) and in one tile a device."""
    d, found = jax.device_count(), []
    for name in ("A", "B", "C", "D"):
        w = WORKLOADS[name]
        for per_device in (1, 2, 4, 8):
            for tile in {1, per_device}:
                slots = per_device * d
                peer = Peer(
                    f"{name}, {slots} slots, tile {tile}",
                    lambda w=w, slots=slots, tile=tile: jax_peers.engine(w, slots, tile),
                )
                measure([peer], repeats)
                found.append(
                    {"workload": name, "slots": slots, "tile": tile, "rate": round(peer.rate, 1)}
                )
    return found
