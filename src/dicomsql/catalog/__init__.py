"""What the provider documents say: `load.Catalog` answers with the values of `model`."""
