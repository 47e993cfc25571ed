"""ms-swift's own loading: `load_dataset`, strictly, and what its templates begin with.

Arguments: folder of the export, file for the answer, files of the export.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from hashlib import sha256
from pathlib import Path

import cpu_torch  # noqa: F401
from swift.dataset import load_dataset
from swift.template.base import Template
from swift.template.template_inputs import TemplateInputs
from swift.template.vision_utils import load_file, load_image
from told import Told

folder, answer, *files = sys.argv[1:]
told = Told(answer)
for file in files:
    rows, _ = load_dataset(str(Path(folder) / file), strict=True)
    for row in rows:
        inputs = TemplateInputs.from_dict(row).chosen
        before = deepcopy(inputs.messages)
        # puts tags in front where there are fewer than media, and warns where there are more
        Template._add_default_tags(inputs)
        assert inputs.messages == before, (before, inputs.messages)
        images = [image["path"] for image in inputs.images]
        for image in images:
            load_image(image)
        system = [("system", inputs.system)] if inputs.system is not None else []
        told.row(
            file,
            [*system, *((message["role"], message["content"]) for message in inputs.messages)],
            images=[sha256(load_file(image).read()).hexdigest() for image in images],
            videos=[sha256(load_file(video).read()).hexdigest() for video in inputs.videos],
        )
