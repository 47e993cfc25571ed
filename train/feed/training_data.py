"""The rows of a split as examples, read in place out of the shards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import RowRejected
from pipeline.manifest import fingerprint
from train.example import Example, Frames, FramesSize, Image, ImageSize, Medium, RowRef, TrainError, Turn
from train.feed.column_types import labelling
from train.feed.fitted_size import check_pixels, fitted
from train.feed.shard_index import ShardIndex
from train.feed.shard_reader import ShardReader, group_starts
from train.no_network import working_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pipeline.checks.media_sources import Source
    from pipeline.column_type import ColumnType
    from pipeline.conversation import MediaPart, Message
    from pipeline.media.frame_index import FrameIndex
    from train.feed.conversation_view import View
    from train.feed.frame_cache import CachedFrames, FrameStore
    from train.feed.frame_sampling import FrameSampling
    from train.feed.index import IndexedShard
    from train.feed.media_record import MediaRecord
