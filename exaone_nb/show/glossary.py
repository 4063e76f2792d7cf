"""The words of the chapters in a table: data/glossary.yaml."""

from exaone_nb.messages import say, translated
from exaone_nb.paths import DATA
from exaone_nb.show.table import Column, Table
from exaone_nb.written import read_yaml


def glossary_table() -> Table:
    """Every term and what it means, by term."""
    terms = read_yaml(DATA / "glossary.yaml")
    rows = [
        {"term": translated(term), "means": translated(terms[term]["means"])}
        for term in sorted(terms, key=str.casefold)
    ]
    return Table([Column("term"), Column("means", say("what it means"))], rows)
