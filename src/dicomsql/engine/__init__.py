"""The engine: DuckDB runs what is left of a query over the scans' Arrow batches."""
