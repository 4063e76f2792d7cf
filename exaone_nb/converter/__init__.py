"""Writing a model as one GGUF file, the way llama.cpp would: keys, vocabulary, packed tensors."""
