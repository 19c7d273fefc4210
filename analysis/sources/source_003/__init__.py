"""Source 003: memorisation and double descent (Hobbhahn 2023, on Henighan et al. 2023 and Elhage et al. 2022)."""
