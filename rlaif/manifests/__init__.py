"""What `cluster/` holds, filled in: from one small set of values to what Kubernetes, Slurm and Ray's launcher take."""
