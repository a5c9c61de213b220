"""One client for every OpenAI-compatible server: vLLM, SGLang, a hosted endpoint. It knows nothing about actions, tools or rewards."""
