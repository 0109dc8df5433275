"""A run over several processes and machines, with Ray: the driver keeps and writes, workers load the model and run."""

from mechpatch.scale.cluster import Cluster as Cluster
