"""Threads that spin while another program holds a core make engine tests take minutes; waiting costs nothing here.

It has to stand in the environment before the first test module loads torch.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
