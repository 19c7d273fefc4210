"""Many machines: divide an experiment into shares, let Ray or Slurm place workers, collect. Starts no JAX."""
