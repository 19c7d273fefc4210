"""How fast grokjax is, beside what a user could pick instead: `make benchmark`, results in docs/performance.md."""
