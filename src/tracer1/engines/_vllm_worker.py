"""What a `vllm serve` on the CPU build needs to take weights whole: `--worker-extension-cls tracer1.engines._vllm_worker.FullReload`.

It knows only vLLM's worker. A server with GPUs does without it.
"""

from tracer1.engines._vllm_sync import retie_head


class FullReload:
    """Joins vLLM's worker class; its methods can be called over HTTP."""

    def tracer1_reload(self, weights_path: str) -> None:
        """Reads the weights in a folder, then lets a tied head follow the embedding."""
        self.reload_weights(weights_path=weights_path)
        retie_head(self.get_model())
