"""A Ray cluster of two machines on this one: python -m tests.ray_nodes. Prints its address, then does as it is told.

'kill N' loses a machine at once, with everything that Ray runs there; the end of the input ends all.
"""

from __future__ import annotations

import os
import sys
import tempfile

SMALL = {"object_store_memory": 80 * 2**20}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        # Ray also notes the address of the newest cluster, and does not make the folder for it.
        os.environ["RAY_TMPDIR"] = folder
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, **SMALL}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        nodes = [cluster.add_node(num_cpus=1, **SMALL) for _ in range(2)]
        cluster.wait_for_nodes()
        sys.stdout.write(f"{cluster.address}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            if line.startswith("kill"):
                cluster.remove_node(nodes[int(line.split()[1])], allow_graceful=False)
            else:
                break
        cluster.shutdown()


if __name__ == "__main__":
    main()
