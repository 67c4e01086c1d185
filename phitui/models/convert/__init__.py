"""Makes a CTranslate2 model folder of a checkpoint or a GGUF file."""
