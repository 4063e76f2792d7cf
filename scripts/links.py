"""Write the repository's address, one setting in pyproject.toml, where people click on it: `make links`.

README's badge, a line in every chapter, and what the notebook for Colab and Kaggle installs. A test holds them together.
"""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STARTER = "notebooks/elsewhere/colab_kaggle.ipynb"
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")
CELL = "elsewhere"


def main() -> None:
    for path, text in wanted().items():
        if path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: written")


def wanted() -> dict[Path, str]:
    """File -> its text with the address."""
    address = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]
    opened = f"https://colab.research.google.com/github/{address.split('github.com/')[1]}/blob/main/{STARTER}"
    badge = f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({opened})"
    readme, starter = ROOT / "README.md", ROOT / STARTER
    found = {readme: BADGE.sub(lambda _: badge, readme.read_text("utf-8"))}
    source = json.dumps(f"git+{address}")
    line = re.compile(r'SOURCE = \\"[^"]*\\"')
    found[starter] = line.sub(lambda _: "SOURCE = " + json.dumps(source)[1:-1], starter.read_text("utf-8"))
    # A picture would be fetched whenever a chapter or its report is looked at; a link is not.
    said = f"*In a browser, without installing anything: [open in Colab]({opened}), or take that notebook to Kaggle.*"
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        cells = [cell for cell in notebook["cells"] if cell["id"] != CELL]
        cells.insert(1, {"cell_type": "markdown", "id": CELL, "metadata": {}, "source": [said]})
        found[path] = json.dumps(notebook | {"cells": cells}, indent=1, ensure_ascii=False) + "\n"
    return found


if __name__ == "__main__":
    main()
