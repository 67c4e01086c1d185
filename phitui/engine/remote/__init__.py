"""Engines on other machines: vLLM, text-generation-inference, llama.cpp's server, Ollama, and what speaks as they do.

Nothing here runs where none is chosen: httpx is imported with these modules.
"""
