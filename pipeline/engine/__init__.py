"""Everything that touches Ray: the cluster, the data, training, inference, evaluation and submission."""
