"""Measures how fast shards feed a training, beside plain decoding and Hugging Face `datasets`, and whether memory stays flat."""
