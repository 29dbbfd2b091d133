"""Runs on a cluster: as jobs of Ray, and from manifests for the cluster's own tools."""
