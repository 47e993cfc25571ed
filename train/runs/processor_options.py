"""Options of a model's processor, set where its own file would set them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.document import nearest
from train.example import TrainError

if TYPE_CHECKING:
    from train.settings import ProcessorSpec


def with_options(processor: Any, options: ProcessorSpec) -> Any:
    """Return a processor whose parts have these options; it is saved with them beside the trained model.

    Raises:
        TrainError: a part has no such option; names the nearest.
    """
    for name, given in (("image_processor", options.image), ("video_processor", options.video)):
        if not given:
            continue
        part = getattr(processor, name, None)
        if part is None:
            raise TrainError(f"the model's processor has no {name.replace('_', ' ')}")
        plain = part.to_dict()
        for key, value in given.items():
            if key not in plain and not hasattr(part, key):
                known = {one for one in plain if not one.endswith("_type")}
                raise TrainError(
                    f"the model's {name.replace('_', ' ')} has no option {key!r}", hint=nearest(key, known)
                )
            own = plain.get(key)
            plain[key] = {**own, **value} if isinstance(own, dict) and isinstance(value, dict) else value
        setattr(processor, name, type(part).from_dict(plain))
    return processor
