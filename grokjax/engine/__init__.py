"""Many runs on devices: the lift over runs, slots, tiles, chunks."""
