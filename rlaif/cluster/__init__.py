"""The Ray cluster: joining or starting it, placement of engines and workers, shortage of resources."""
