"""The embedders of the configuration, as `ostiary_tools.embedders` opens them."""

from ostiary.config import Config
from ostiary_tools.embedders.opening import EmbedderSettings, Kind


def embedders(config: Config) -> dict[str, EmbedderSettings]:
    """By name, in their order."""
    return {
        name: EmbedderSettings(
            kind=Kind(one.kind),
            url=one.url or "",
            key=one.key.get_secret_value() if one.key is not None else "",
            model=one.model or "",
            dimensions=one.dimensions or 0,
            folder=one.folder,
            max_tokens=one.max_tokens,
            batch=one.batch,
            batch_chars=one.batch_chars,
            timeout_s=one.timeout_s,
        )
        for name, one in config.embedders.items()
    }
