"""Source 000 (a course project's post on memorisation in language models, 2024; it has no numbers)."""
