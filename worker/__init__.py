"""Everything that touches a picture or runs a stage."""

import os

# OpenBLAS reads this when NumPy loads it. Its threads wait actively, and the vectors here are too short for
# them: on two cores the equations of a person's outline take 4 ms with one thread, and up to 380 ms with two
# beside another process.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# OpenMP, of PyTorch, reads this when it loads. By default its idle threads wait actively too: beside other
# processes on two cores the parser's network takes several times its own processor time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
