"""GGUF, the one-file format of llama.cpp: its header read strictly, and its size predicted before it is written.

    types.py       value types, tensor types with their blocks, file types
    cursor.py      the bytes of a header, fetched as far as they are needed
    values.py      its keys
    header.py      a header read from disk or over http, refused where it does not add up
    inspection.py  the file explained: tensors, bits per weight, tokenizer, template
    names.py       what a tensor of a published checkpoint is called in GGUF
    rule.py        llama.cpp's rule of which tensor gets which type
    size.py        the bytes of a file before it exists

Pure arithmetic; writing is in `exaone_nb.converter.gguf_file`.
"""
