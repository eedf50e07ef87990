"""A model in ONNX's format: the mean of what it gives for each token, or its own vector for the text."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ostiary_tools.embedders import local_model
from ostiary_tools.embedders.lengths import unit
from ostiary_tools.errors import EmbeddingFailed, Refused

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix

MODEL = "model.onnx"
_ERRORS_ONLY = 3


class OnnxEmbedder(local_model.LocalModel):
    """Runs it on the processor."""

    files = (MODEL, local_model.TOKENIZER)

    def _embedded(self, texts: Sequence[str]) -> "Matrix":
        import numpy as np  # heavy

        encoded = self._tokenizer.encode_batch(list(texts))
        mask = np.array([one.attention_mask for one in encoded], np.int64)
        inputs = {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.array([one.type_ids for one in encoded], np.int64),
        }
        return unit(self._pooled(self._run(inputs), mask))

    def _run(self, inputs: dict[str, Any]) -> Any:
        wanted = {one.name for one in self._session.get_inputs()}
        if not wanted <= inputs.keys():
            raise self._failed("asks for inputs that no text gives")
        try:
            return self._session.run(None, {name: inputs[name] for name in wanted})[0]
        except Exception as error:  # noqa: BLE001 its errors have no root of their own, and quote shapes and places
            raise self._failed(f"cannot be run: {type(error).__name__}") from None

    def _pooled(self, output: Any, mask: Any) -> Any:
        """Models exported with their pooling give rows of their own."""
        if output.ndim != 3:  # noqa: PLR2004 texts, tokens, dimensions
            return output.reshape(len(output), -1)
        return (output * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None].clip(1)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer  # heavy

        found = Tokenizer.from_file(str(self._folder / local_model.TOKENIZER))
        found.enable_truncation(self.max_tokens)
        found.enable_padding()
        return found

    @cached_property
    def _session(self) -> Any:
        import onnxruntime  # heavy

        onnxruntime.set_default_logger_severity(_ERRORS_ONLY)  # it writes to stderr whatever logging says
        try:
            return onnxruntime.InferenceSession(str(self._folder / MODEL), providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 likewise
            raise Refused(
                "no_model",
                f"embedder `{self.name}` has a model that cannot be read: {type(error).__name__}",
                "export it anew",
            ) from None

    def _failed(self, what: str) -> EmbeddingFailed:
        return EmbeddingFailed(f"the model of embedder `{self.name}` {what}", "ask the operator for another export of it")
