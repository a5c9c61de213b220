"""What a `vllm serve` loads of tracer1: `--worker-extension-cls tracer1.engines._vllm_worker.FullReload`.

It brings `tracer1_reload`, which a server on a CPU needs to take weights whole, and the weight-transfer backend `tracer1_gloo`. It
knows only vLLM's worker. A server with GPUs that reads weights from a folder, or over NCCL, does without it.
"""

from vllm.distributed.weight_transfer import WeightTransferEngineFactory

from tracer1.engines._vllm_sync import retie_head

WeightTransferEngineFactory.register_engine("tracer1_gloo", "tracer1.engines._gloo_receiver", "GlooReceiver")


class FullReload:
    """Joins vLLM's worker class; its methods can be called over HTTP."""

    def tracer1_reload(self, weights_path: str) -> None:
        """Reads the weights in a folder, then lets a tied head follow the embedding."""
        self.reload_weights(weights_path=weights_path)
        retie_head(self.get_model())
