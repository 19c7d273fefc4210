"""Source 002 (enerrio/grokking-mlp): the MLP on addition mod 97; its appendices: slingshots (a), sparse parity (b)."""
