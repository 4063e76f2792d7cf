"""Count the tokens of the same sentences in Korean and English, and write them down: data/measured/tokenizers.json.

    python scripts/record_tokenizers.py "Qwen3=PATH/tokenizer.json" "Llama 3.1=PATH/tokenizer.json" …

The files are their makers' and stay where they are: only counts are kept. Each is counted whole and cut to half, a quarter
and an eighth of its entries, as far as what is not merged from others leaves room.
"""

import argparse
from pathlib import Path

from exaone_nb.conversation.vocabulary import entries, parallel_text, tokens
from exaone_nb.errors import UsageError
from exaone_nb.files import write_json
from exaone_nb.paths import DATA
from exaone_nb.workbook.record import now

SHARES = (1, 2, 4, 8)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokenizers", nargs="+", metavar="NAME=FILE")
    text = parallel_text()
    rows = []
    for name, file in (given.split("=", 1) for given in parser.parse_args().tokenizers):
        size = entries(Path(file))
        for share in SHARES:
            keep = size // share
            try:
                counts = {
                    language: sum(tokens(Path(file), lines, None if share == 1 else keep))
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
        "characters": {language: sum(map(len, lines)) for language, lines in text.items()},
        "sentences": len(text["korean"]),
        "rows": rows,
    }
    write_json(DATA / "measured" / "tokenizers.json", document)


if __name__ == "__main__":
    main()
