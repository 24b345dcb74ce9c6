"""Models in GGUF files, run by llama.cpp in a process of their own: the backend for CPUs."""
