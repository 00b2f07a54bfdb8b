"""How work runs: processes and clusters, threads, progress, folders of results, and what is recorded of a run."""
