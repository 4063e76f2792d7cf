"""Text files that people write: in which encoding, YAML read without guessing, and the tables in data/.

    read_yaml(Path("recipe.yaml"))              # a file
    read_yaml("[042, 1:30]", as_text=True)      # ['042', '1:30']: every scalar as it was written

YAML 1.1 reads `010` as 8, `1:30` as 90 and `0.10` as 0.1, before anybody knows which type is wanted. With `as_text`
the scalars stay text, and whoever knows the type reads them. A key written twice is always an error.
"""

import codecs
import csv
import re
from functools import cache
from pathlib import Path
from typing import Any

from exaone_nb.errors import UsageError
from exaone_nb.messages import say

_MERGE = "tag:yaml.org,2002:merge"


def read_text(path: str | Path, expected: str = "a text file in UTF-8.") -> str:
    """The text of a UTF-8 file, with or without a byte order mark. Raises UsageError; another encoding is named."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            say("There is no file {path}.", path=path), expected=expected, remedy="Check the path."
        ) from error
    except OSError as error:
        got = say("{path} cannot be read ({reason}).", path=path, reason=error.strerror)
        raise UsageError(got, expected=expected, remedy="Check the path.") from error
    return decode(content, path.name, expected)


def decode(content: bytes, name: str, expected: str = "a text file in UTF-8.") -> str:
    """`content` as text. `name` is how the error calls it. Raises UsageError with the line and the likely encoding."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        encoding = encoding_of(content)
        where = {"name": name, "number": content.count(b"\n", 0, error.start) + 1}
        got = say("{name}, line {number} is not UTF-8.", **where)
        if encoding:
            got = say(
                "{name}, line {number} is not UTF-8; it looks like {encoding}.", encoding=encoding, **where
            )
        raise UsageError(
            got,
            expected=expected,
            remedy=say(
                "Save it as UTF-8: iconv -f {encoding} -t UTF-8 OLD > NEW.",
                encoding=encoding or "OLD_ENCODING",
            ),
        ) from error


def encoding_of(content: bytes) -> str:
    """The likely encoding of bytes that are not UTF-8: UTF-16, UTF-32 or CP949; empty when it is none of these."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    for offset, name in ((0, "UTF-16BE"), (1, "UTF-16LE")):
        high = content[offset:4096:2]  # in Latin text the high byte of every character is 0
        if high.count(0) > len(high) / 2:
            return name
    try:
        korean = re.search("[가-힣]", content.decode("cp949"))
    except UnicodeDecodeError:
        return ""
    return "CP949" if korean else ""


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of one of the tables in data/, by the names in its first line."""
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def read_yaml(
    source: Path | str, *, as_text: bool = False, dumped: bool = False, expected: str = "a YAML file."
) -> Any:
    """The document in a YAML file (a Path) or in YAML text (a str).

    With `as_text` every scalar is the text that was written, and an empty one is "". With `dumped` a Python object that
    a library wrote is read as the value it was made from, `!!python/object/apply:torch.device [cpu]` as "cpu"; else it
    is refused. Raises UsageError when the file cannot be read, is not UTF-8 or not YAML, and when a key stands twice in
    one mapping.
    """
    import yaml

    text = read_text(source, expected) if isinstance(source, Path) else source
    name = source.name if isinstance(source, Path) else f"{text[:60]!r}"
    try:
        return yaml.load(text, _loader(as_text, dumped))
    except (yaml.YAMLError, RecursionError) as error:
        problem = getattr(error, "problem", None) or str(error)
        mark = getattr(error, "problem_mark", None)
        if mark and isinstance(source, Path):
            name = say("{name}, line {number}", name=name, number=mark.line + 1)
        raise UsageError(
            say("{name} cannot be read as YAML: {problem}.", name=name, problem=problem),
            expected=expected,
            remedy="Write each key once, `KEY: value` with a space after the colon, and close every bracket and quote.",
        ) from error


@cache
def _loader(as_text: bool, dumped: bool) -> Any:
    """PyYAML's safe loader, which takes the last of two equal keys without a word, made to refuse them."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                    continue
                if key.value in seen:
                    problem = say("the key {key!r} is written twice", key=key.value)
                    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    if dumped:
        Loader.add_multi_constructor("tag:yaml.org,2002:python/object/apply:", _made_from)
        Loader.add_constructor("tag:yaml.org,2002:python/tuple", Loader.construct_sequence)
    if as_text:
        Loader.yaml_implicit_resolvers = {}
        Loader.add_implicit_resolver(_MERGE, re.compile("<<$"), ["<"])
        for kind in ("int", "float", "bool", "null", "timestamp"):  # written out, as `!!int 010`
            Loader.add_constructor(f"tag:yaml.org,2002:{kind}", yaml.SafeLoader.construct_yaml_str)
    return Loader


def _made_from(loader: Any, _: str, node: Any) -> Any:
    """The value of an enumeration, or the name of a device; nothing is imported or run."""
    arguments = loader.construct_sequence(node, deep=True)
    return arguments[0] if arguments else None
