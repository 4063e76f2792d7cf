"""How secrets look: the one table of token shapes, for whoever keeps them out of reports and submissions."""

import re

from exaone_nb.paths import DATA
from exaone_nb.written import read_yaml

# What it is -> how it looks.
SHAPES = {what: re.compile(pattern) for what, pattern in read_yaml(DATA / "credentials.yaml").items()}
# Secrets by their place only. In a file that explains how to log in the same places hold "YOUR_TOKEN_HERE".
IN_PLACE = re.compile(r"(?<=Bearer )[A-Za-z0-9._~+/-]{12,}=*|(?<=://)[^\s/:@\"'<>]+:[^\s/@\"'<>]+(?=@)")
