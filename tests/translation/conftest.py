"""scripts/translation is no package: its modules are imported from its folder."""

import sys

from exaone_nb.paths import ROOT

sys.path.insert(0, str(ROOT / "scripts" / "translation"))
