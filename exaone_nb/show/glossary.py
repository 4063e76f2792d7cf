"""The words of the chapters in a table: data/glossary.yaml."""

from exaone_nb.messages import say, translated
from exaone_nb.paths import DATA
from exaone_nb.show.table import Column, Table
from exaone_nb.written import read_yaml


def glossary_table() -> Table:
    """Every term and what it means, by term; a translated one with its English."""
    terms = read_yaml(DATA / "glossary.yaml")
    said = {term: translated(term) for term in sorted(terms, key=str.casefold)}
    rows = [
        {"term": word if word == term else f"{word} ({term})", "means": translated(terms[term]["means"])}
        for term, word in said.items()
    ]
    return Table([Column("term"), Column("means", say("what it means"))], rows)
