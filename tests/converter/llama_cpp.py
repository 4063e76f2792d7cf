"""llama.cpp itself, in a process of its own: `python llama_cpp.py` with a JSON list of jobs on stdin.

    {"converter": folder of convert_hf_to_gguf.py, "library": folder of libllama, "model": folder, "cut": name,
     "out": {"BF16": file, "Q4_K_M": file}}

F16, BF16 and Q8_0 are written by its converter, everything else by llama_model_quantize from the BF16 file.
"""

import ctypes
import json
import os
import sys
from functools import cache
from pathlib import Path

FILE_TYPES = {"Q4_0": 2, "Q2_K": 10, "Q3_K_M": 12, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18, "IQ4_XS": 30}


class Parameters(ctypes.Structure):
    """llama_model_quantize_params of include/llama.h, b10359."""

    _fields_ = [
        *(
            (name, ctypes.c_int32)
            for name in ("nthread", "ftype", "output_tensor_type", "token_embedding_type")
        ),
        *(
            (name, ctypes.c_bool)
            for name in (
                "allow_requantize",
                "quantize_output_tensor",
                "only_copy",
                "pure",
                "keep_split",
                "dry_run",
            )
        ),
        *((name, ctypes.c_void_p) for name in ("imatrix", "kv_overrides", "tt_overrides", "prune_layers")),
    ]


def convert(converter: str, model: Path, kind: str, out: Path, cut: str) -> None:
    if converter not in sys.path:
        sys.path[:0] = [converter, f"{converter}/gguf-py"]
    import gguf
    import torch
    import transformers
    from conversion import base, get_model_class

    settings = base.ModelBase.load_hparams(model, False)
    if settings["model_type"] == "exaone":
        # AutoTokenizer asks the config for its class first, which EXAONE 3.x keeps beside its weights.
        transformers.AutoTokenizer = transformers.PreTrainedTokenizerFast
    family = get_model_class(base.get_model_architecture(settings, base.ModelType.TEXT))
    if cut:
        family.get_vocab_base_pre = lambda *_: cut
    with torch.inference_mode():
        family(model, gguf.LlamaFileType[f"MOSTLY_{kind}"], out).write()


@cache
def opened(library: Path) -> ctypes.CDLL:
    for pattern in ("libggml-base*", "libggml.*", "libllama.*"):
        llama = ctypes.CDLL(str(next(library.glob(pattern))), mode=ctypes.RTLD_GLOBAL)
    llama.llama_model_quantize_default_params.restype = Parameters
    llama.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Parameters)]
    llama.llama_backend_init()
    return llama


def quantize(library: Path, source: Path, kind: str, out: Path) -> None:
    llama = opened(library)
    settings = llama.llama_model_quantize_default_params()
    settings.ftype, settings.nthread = FILE_TYPES[kind], 1
    code = llama.llama_model_quantize(os.fsencode(source), os.fsencode(out), ctypes.byref(settings))
    if code:
        out.unlink(missing_ok=True)
        print(f"llama_model_quantize stopped at {kind} with {code}", file=sys.stderr)


def main() -> None:
    for job in json.load(sys.stdin):
        for kind, out in job["out"].items():
            if kind in FILE_TYPES:
                quantize(Path(job["library"]), Path(job["out"]["BF16"]), kind, Path(out))
            else:
                convert(job["converter"], Path(job["model"]), kind, Path(out), job["cut"])


if __name__ == "__main__":
    main()
