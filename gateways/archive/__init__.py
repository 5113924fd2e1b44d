"""Records of topics beyond the broker's memory: closed runs of them as Parquet files in the object store."""
