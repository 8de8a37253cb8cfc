"""Everything that touches Ray: the cluster, the data, training, inference, evaluation and submission."""

import os

# OpenMP threads that wait by spinning take the cores that decoding needs: beside other work, training on two threads
# was ten times slower than on one. Set before torch is imported; workers import this package first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
