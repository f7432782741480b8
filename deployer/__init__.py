"""deployer: put a model into production on AWS at the lowest cost that meets its latency."""
