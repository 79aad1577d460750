"""Whether an adapter can be loaded, from its adapter_config.json: looked at before its weights are fetched."""

from __future__ import annotations

import json

from .errors import FetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .transfer import Source

CONFIG = "adapter_config.json"


def check_adapter(source: Source, limits: dict[str, str]) -> None:
    """Raise FetchError for a rank above `max-rank`, or another base than the repository `base`, if those are given."""
    if not limits:
        return
    with source.open(CONFIG, 0) as answer:
        try:
            config = json.load(answer)
            rank = max([int(config["r"]), *(config.get("rank_pattern") or {}).values()])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FetchError(f"{CONFIG} of {source.name} is not of a LoRA adapter") from error
    if rank > int(limits.get("max-rank", rank)):
        raise FetchError(
            f"rank {rank} of {source.name} is above vllm.max_lora_rank {limits['max-rank']}; "
            "raise that, or use a smaller adapter"
        )
    base, wanted = str(config.get("base_model_name_or_path") or ""), limits.get("base", "")
    is_repository = base.count("/") == 1 and not base.startswith((".", "/"))
    if wanted and is_repository and base.lower() != wanted.lower():
        raise FetchError(f"{source.name} was trained on {base}, not on {wanted}; use its own base")
