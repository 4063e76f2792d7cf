"""What a checkpoint is made of and what it will weigh: arithmetic over configs and file headers.

Nothing here imports torch, transformers or vllm. Reading is in `reader`, the rules of what a family stores in
`layouts`, quantization schemes in `schemes`, and the prediction of a file before it exists in `predict`.
"""
