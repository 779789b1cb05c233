"""Everything that touches a picture or runs a stage."""

import os

# OpenBLAS reads this when NumPy loads it. Its threads wait actively, and the vectors here are too short for
# them: on two cores the equations of a person's outline take 4 ms with one thread, and up to 380 ms with two
# beside another process.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
