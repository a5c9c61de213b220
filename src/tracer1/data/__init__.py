"""Steps on disk and on their way to training: shards, their schema, the data module and the converters of raw data sets."""
