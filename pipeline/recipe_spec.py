"""What a recipe may say: every key of its YAML, with a line on each. `load_recipe.py` checks it whole."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import ByteSize, Field, field_validator, model_validator

from pipeline.curate_spec import CurateSpec  # noqa: TC001  (pydantic reads it)
from pipeline.document import shown
from pipeline.model_check import Strict
from pipeline.spec_values import MB, Count, Seed, as_float, as_list, byte_size
from pipeline.template import is_template

Depth = Literal["none", "header", "decode", "all_frames"]
"""How far a medium is looked into: not at all; what its headers claim; until its first frame is decoded (and, for a
video, to the last packet); until every frame is decoded."""

LISTED_FORMATS = ("webdataset", "folder")
"""Formats of `rows` whose records stand in no annotation file: they are listed."""
HUBS = ("huggingface", "modelscope")
PLACES = ("path", *HUBS, "url", "dataset")
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}\Z", re.ASCII)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z")
_READER = re.compile(r"[^:]+\.py:[A-Za-z_]\w*\Z")
Mark = Annotated[str, Field(min_length=1, max_length=1)]
Moment = int | float | str | None
"""A number, a template, or a column of the raw record."""


class PlaceSpec(Strict):
    """A place that raw files can be had from: exactly one of a path, a repository of a hub, a URL, and a dataset."""

    path: str | None = Field(default=None, min_length=1)
    """A folder, an annotation file or an archive (zip, tar, tar.gz, tar.zst), relative to the recipe file."""
    huggingface: str | None = None
    """A dataset repository of Hugging Face, as `owner/name`; `HF_ENDPOINT` and `HF_TOKEN` are honoured."""
    modelscope: str | None = None
    """A dataset repository of ModelScope, as `owner/name`; `MODELSCOPE_ENDPOINT` and `MODELSCOPE_API_TOKEN` count."""
    url: str | None = None
    """An annotation file or an archive on the web."""
    dataset: str | None = Field(default=None, min_length=1)
    """The finished dataset of another recipe, by its name or its path; it is built first."""
    revision: str | None = Field(default=None, min_length=1)
    """Repositories: a branch, tag or commit; left out: the main branch. The manifest says which commit it was."""
    files: list[str] = Field(default_factory=lambda: ["**/*"], min_length=1)
    """Repositories: patterns of the files to download."""
    archive: str | None = Field(default=None, min_length=1)
    """Repositories: one archive among the files, in place of `files`; the source is what is in it."""
    sha256: str | None = None
    """URLs: the hash that the file must have."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        given = [name for name in PLACES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a source is exactly one of {', '.join(PLACES)}")
        if given[0] not in HUBS and self.model_fields_set & {"revision", "files", "archive"}:
            raise ValueError("`revision`, `files` and `archive` are for repositories of a hub")
        if self.archive is not None and "files" in self.model_fields_set:
            raise ValueError("a repository is downloaded by `files`, or one `archive` of it is, not both")
        if given[0] != "url" and self.sha256 is not None:
            raise ValueError("`sha256` is for a URL")
        return self

    @field_validator("huggingface", "modelscope")
    @classmethod
    def _repository(cls, value: str | None) -> str | None:
        if value is not None and not _REPOSITORY.match(value):
            raise ValueError(f"{shown(value)} is no repository; write it as `owner/name`")
        return value

    @field_validator("url")
    @classmethod
    def _web(cls, value: str | None) -> str | None:
        if value is not None and not value.lower().startswith(("http://", "https://")):
            raise ValueError(f"{shown(value)} is no URL that can be fetched; it starts with https:// or http://")
        return value

    @field_validator("sha256")
    @classmethod
    def _hash(cls, value: str | None) -> str | None:
        if value is not None and not _SHA256.match(value):
            raise ValueError(f"{shown(value)} is no sha256; it has 64 hexadecimal digits")
        return value.lower() if value is not None else None

    @field_validator("files", mode="before")
    @classmethod
    def _patterns(cls, value: Any) -> Any:
        return as_list(value)

    @property
    def kind(self) -> str:
        """Which of PLACES it is."""
        return next(name for name in PLACES if getattr(self, name) is not None)


class SourceSpec(PlaceSpec):
    """Where raw files come from."""

    fallbacks: list[PlaceSpec] = Field(default_factory=list)
    """Other places of the same files, tried in order when the first cannot be had."""
    license: str | None = None
    """The licence of these files, e.g. `cc-by-4.0`; the card lists it."""
    credit: str | None = None
    """Whom to thank, and where the files come from; the card lists it."""
    name_encoding: str | None = None
    """Archives: how member names are written when they are not UTF-8, e.g. `gbk` or `shift_jis`."""
    max_members: Count = 1_000_000
    """Archives: members allowed at the most."""
    max_unpacked: ByteSize = ByteSize(1_000_000 * MB)
    """Archives: bytes allowed in all once unpacked."""
    max_ratio: Count = 200
    """Archives: how many times larger unpacked data may be than packed."""

    @field_validator("max_unpacked", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        return byte_size(value)


class RunsSpec(Strict):
    """Lines that each tell of one frame of a video, joined into runs of equal values: each run becomes one record."""

    frame: str
    """The column with the number of the frame, counted from 0 and in order."""
    same: list[str] = Field(min_length=1)
    """The columns that are equal all through a run; they are what the record has, beside `run`."""
    video: str | None = None
    """The column that names the video, when a file tells of several."""
    step: Count = 1
    """Frames from one line to the next."""
    fps: float | None = Field(default=None, gt=0, le=100_000)
    """Frames a second as they are numbered here; gives `run.start` and `run.end` in seconds."""
    max_frames: Count | None = None
    """A longer run becomes several records, all but the last of so many frames."""

    @field_validator("same", mode="before")
    @classmethod
    def _columns(cls, value: Any) -> Any:
        return as_list(value)

    @field_validator("fps", mode="before")
    @classmethod
    def _rate(cls, value: Any) -> Any:
        return as_float(value)


class RowsSpec(Strict):
    """Which annotation files hold the rows, and how to read them; all but source and files may be left out."""

    source: str | None = None
    """The name of a source; may be left out when there is only one."""
    files: list[str] = Field(min_length=1)
    """File names or glob patterns inside the source."""
    format: Literal["json", "jsonl", "csv", "tsv", "parquet", "webdataset", "folder"] | None = None
    """`webdataset`: the files are tars of samples; `folder`: each file is a row; left out: detected by content."""
    dialect: str | None = None
    """Whose format the records are in, e.g. `llava` or `ms-swift`: they become `messages`, `images` and `videos`."""
    encoding: str | None = None
    """Left out: UTF-8, or what a byte order mark says."""
    delimiter: Mark | None = None
    """CSV: left out: detected."""
    quote: Mark | None = '"'
    """CSV: the quote character; null: none."""
    escape: Mark | None = None
    """CSV: the escape character."""
    header: bool | list[str] = True
    """CSV: a list names the columns of a file without a header."""
    records: str | None = None
    """JSON: dotted path to the records, e.g. `data.annotations`."""
    key: str | None = None
    """JSON keyed object: the column that receives the key."""
    runs: RunsSpec | None = None
    """Lines that tell of one frame each: how they are joined into records."""
    reader: str | None = None
    """The escape hatch: `my_rows.py:rows`, a function from a path to (line, row) pairs."""

    @field_validator("files", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return as_list(value)

    @field_validator("reader")
    @classmethod
    def _reader(cls, value: str | None) -> str | None:
        if value is not None and not _READER.match(value):
            raise ValueError(f"{shown(value)} is no reader; write a file and a function of it, e.g. my_rows.py:rows")
        return value

    @model_validator(mode="after")
    def _lists_or_reads(self) -> Self:
        if self.format in LISTED_FORMATS and (self.reader is not None or self.runs is not None):
            raise ValueError(f"`format: {self.format}` lists its rows itself; `reader` and `runs` read files")
        return self

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark is not None]
        if any(mark in "\r\n" for mark in marks):
            raise ValueError("a line end is no delimiter, quote or escape")
        if self.delimiter is not None and self.delimiter in (self.quote, self.escape):
            raise ValueError(f"{self.delimiter!r} cannot be the delimiter and the quote or escape at once")
        if isinstance(self.header, list) and not self.header:
            raise ValueError("`header: []` names no column; `header: true` says that the first line names them")
        return self


class SplitSpec(RowsSpec):
    """One split: rows of its own files, or a part of the config's rows."""

    files: list[str] = Field(default_factory=list)
    """Its own annotation files; then nothing below is given."""
    share: float | None = Field(default=None, gt=0, le=1)
    """A share of the rows: `train: 0.9`."""
    count: Count | None = None
    """A number of rows drawn with the seed."""
    first: Count | None = None
    """The first rows in file order."""
    last: Count | None = None
    """The last rows in file order."""
    where: str | None = None
    """The rows for which this expression over the raw record is true: `test: {where: "subset == 'test'"}`."""
    rest: bool = False
    """All rows that no other split takes: `train: rest`."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not 0 < value <= 1:
                raise ValueError(
                    f"{shown(value)} is not a share; write one above 0 and up to 1, or {{count: ROWS}} for so many rows"
                )
            return {"share": float(value)}
        if value == "rest":
            return {"rest": True}
        if isinstance(value, str):
            raise ValueError(  # noqa: TRY004  (pydantic wants a ValueError)
                f"{shown(value)} is not a split; write a share such as 0.9, `rest`, {{last: 4}} or {{where: …}}"
            )
        return value

    @field_validator("share", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return as_float(value)

    @model_validator(mode="after")
    def _exactly_one(self) -> SplitSpec:
        ways = [bool(self.files), self.share, self.count, self.first, self.last, self.where is not None, self.rest]
        if sum(bool(way) for way in ways) != 1:
            raise ValueError("a split is exactly one of files, share, count, first, last, where, rest")
        if not self.files and (given := self.model_fields_set & set(RowsSpec.model_fields)):
            raise ValueError(f"{', '.join(sorted(given))} belongs to a split with files of its own, or under `rows`")
        return self


class SplitBySpec(Strict):
    """How rows are put into splits."""

    group: str = "media"
    """What stays together on one side: `media` (rows that share an image or clip), `none`, or a column."""
    stratify: str | None = None
    """A column whose values are spread evenly over the splits."""
    seed: Seed = 0
    """The seed of every draw."""
    leaks: Literal["reject", "keep"] = "reject"
    """A group found on two sides (splits by file, first or last) stays in the smaller split; elsewhere its rows go."""


class FieldSpec(Strict):
    """Where a column's value comes from."""

    source_column: str | None = Field(default=None, alias="from")
    """A column of the raw record."""
    template: str | None = None
    """A template over the raw record."""
    default: Any = None
    """The value for a null, missing or blank one."""
    parse: Literal["integer", "number", "boolean", "json", "list"] | None = None
    """Read a text as this; without it a text stays a text."""
    thousands: Mark | None = None
    """parse integer or number: the separator of thousands, e.g. a comma."""
    decimal: Mark = "."
    """parse number: the decimal mark."""
    separator: str | None = Field(default=None, min_length=1)
    """parse list: what stands between the items."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"template": value} if is_template(value) else {"from": value}
        if isinstance(value, int | float | bool):
            raise ValueError(  # noqa: TRY004  (pydantic wants a ValueError)
                f"{shown(value)} is not a field; write a column name, a template, or {{default: {shown(value)}}}"
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> FieldSpec:
        if self.source_column is not None and self.template is not None:
            raise ValueError("a field has `from` or `template`, not both")
        if self.thousands is not None and self.parse not in ("integer", "number"):
            raise ValueError("`thousands` goes with `parse: integer` or `parse: number`")
        if (self.separator is None) != (self.parse != "list"):
            raise ValueError("`parse: list` needs a `separator`, and nothing else has one")
        if "decimal" in self.model_fields_set and self.parse != "number":
            raise ValueError("`decimal` goes with `parse: number`")
        if self.thousands == self.decimal:
            raise ValueError("the separator of thousands and the decimal mark are the same")
        for name, mark in (("thousands", self.thousands), ("decimal", self.decimal)):
            if mark is not None and (mark.isalnum() or mark in "+-"):
                raise ValueError(
                    f"{name} {mark!r} would be read as part of a number; use a mark such as , . ' or space"
                )
        return self


class ClipSpec(Strict):
    """The part of a video that a row is about, in seconds or in frames; a border left out is the video's own."""

    start: Moment = None
    """Seconds, or `[hours:]minutes:seconds`: a column of the raw record, a template or a number."""
    end: Moment = None
    """The same; a frame that begins here is outside."""
    start_frame: Moment = None
    """The first frame, counted from 0."""
    end_frame: Moment = None
    """The first frame that is outside again; of a last frame that is inside: `"{{ last + 1 }}"`."""
    exact: bool = True
    """Exactly these frames, encoded anew where they cannot be copied; false: copied, with a little more around them."""

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        seconds, frames = {"start", "end"} & self.model_fields_set, {"start_frame", "end_frame"} & self.model_fields_set
        if bool(seconds) == bool(frames):
            raise ValueError("a clip has `start` and `end`, or `start_frame` and `end_frame`")
        return self


class FramesSpec(Strict):
    """How many frames of a video become a list of images."""

    count: Count | None = None
    """So many, in the middles of as many equal parts; fewer where the video has fewer."""
    per_second: float | None = Field(default=None, gt=0, le=1_000)
    """So many a second, from the first one on."""
    most: Count = 1_000
    """A row whose video gives more is left out (`clip.most`)."""
    format: Literal["jpeg", "png"] = "jpeg"
    """How they are stored: small, or as they were decoded."""

    @field_validator("per_second", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return as_float(value)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.count is None) == (self.per_second is None):
            raise ValueError("frames are sampled by `count` or by `per_second`")
        if self.count is not None and self.count > self.most:
            raise ValueError(f"`count` {self.count:,} is above `most` {self.most:,}")
        return self


class MediaSpec(Strict):
    """Where a column's images or videos come from."""

    source_column: str | None = Field(default=None, alias="from")
    """The column of the raw record with the path (or the list of paths); left out: the column of the same name."""
    path: str | None = None
    """A template for the path, e.g. `images/{{ image }}.jpg`; `item` is one item of `from`."""
    source: str | None = None
    """The source the path is in; left out: the row's own source."""
    relative_to: Literal["root", "file"] = "root"
    """What a relative path starts from: the source's root, or the folder of the annotation file."""
    within: str | None = None
    """A wider folder (relative to the recipe) that media may lie in; left out: the source's root."""
    probe: Depth = "decode"
    """How far media are looked into: `none`, `header`, `decode` (the first frame), or `all_frames`."""
    clip: ClipSpec | None = None
    """Videos: the part that is cut out of a longer one."""
    frames: FramesSpec | None = None
    """Images: how they are sampled out of a video, or with `clip` out of a part of it."""
    missing: Literal["reject", "keep", "fail"] = "reject"
    """A medium that cannot be had: reject the row, keep the row without it, or stop the build."""


class RejectsSpec(Strict):
    """How much may be lost."""

    max_share: float = Field(default=0.05, ge=0, le=1)
    """More broken rows than this share stop the build, with the table of reasons; curated rows do not count."""

    @field_validator("max_share", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return as_float(value)


class ShardsSpec(Strict):
    """How shards are cut."""

    max_bytes: ByteSize = ByteSize(500 * MB)
    """Bytes of rows in one shard at the most; a single larger row has a shard of its own."""
    row_group_bytes: ByteSize = ByteSize(100 * MB)
    """Bytes of rows in one row group at the most; the Hub's viewer wants less than 286 MiB."""
    media: Literal["embed", "files", "archive"] = "embed"
    """Media inside the shards, as files beside them, or in tar archives beside them."""

    @field_validator("max_bytes", "row_group_bytes", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        return byte_size(value)


class FetchSpec(Strict):
    """How media are fetched that rows name by URL."""

    allow_hosts: list[str] = Field(default_factory=list)
    """Hosts, by exact name or address, that may be on private ground; all others must have public addresses."""
    max_bytes: ByteSize = ByteSize(2_000 * MB)
    """Bytes of one file at the most."""
    per_host: Annotated[int, Field(ge=1, le=256)] = 8
    """Requests to one host at a time."""
    per_second: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Requests begun a second, to one host; left out: no limit but that of `per_host`."""
    tries: Annotated[int, Field(ge=1, le=100)] = 5
    """Requests for one file in one build, before it is left to the next."""

    @field_validator("max_bytes", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        return byte_size(value)

    @field_validator("allow_hosts", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return as_list(value)


class PublishSpec(Strict):
    """Where `shardwright publish` pushes to when no `--to` says otherwise, and how a repository is made there."""

    huggingface: str | None = None
    """A repository of Hugging Face: `owner/name`, or `owner/name@branch`."""
    modelscope: str | None = None
    """A repository of ModelScope, likewise."""
    folder: str | None = Field(default=None, min_length=1)
    """A folder, e.g. of a NAS; its parent is there already."""
    private: bool = True
    """Whether a repository that is made is private; one that is there stays as it is."""
    gated: Literal["auto", "manual"] | None = None
    """Let in those who ask (`auto`), or those whom you let in (`manual`); Hugging Face only."""
    key: str | None = None
    """The column that says which row is which, so that changed rows are told from new ones; left out: `id`."""

    @field_validator("huggingface", "modelscope")
    @classmethod
    def _is_repository(cls, value: str | None) -> str | None:
        if value is not None and not _REPOSITORY.match(value.partition("@")[0]):
            raise ValueError(f"{shown(value)} is not the name of a repository; write owner/name")
        return value

    @property
    def targets(self) -> list[str]:
        """The places, as `--to` names them."""
        named = (("huggingface", self.huggingface), ("modelscope", self.modelscope), ("folder", self.folder))
        return [f"{hub}:{place}" for hub, place in named if place is not None]


class ConfigSpec(Strict):
    """One config of the dataset; what is given here goes before what the recipe says for all."""

    schema_name: str | None = Field(default=None, alias="schema")
    """The schema of this config."""
    rows: RowsSpec | None = None
    """The rows that the splits divide; left out when each split has files of its own."""
    splits: dict[str, SplitSpec] = Field(min_length=1)
    """Split name -> what goes into it."""
    split_by: SplitBySpec = Field(default_factory=SplitBySpec)
    """Groups, strata and the seed."""
    fields: dict[str, FieldSpec] | None = None
    """Column -> where its value comes from; identity when left out."""
    media: dict[str, MediaSpec] | None = None
    """Media column -> where its files come from."""
    curate: list[CurateSpec] | None = None
    """Steps of curation."""


class RecipeSpec(Strict):
    """A whole recipe."""

    name: str
    """Folder and repository name."""
    schema_name: str | None = Field(default=None, alias="schema")
    """The schema of every config that names none: `schemas/NAME.yaml`, or a path ending in .yaml."""
    card: str | None = None
    """The human part of the card: `dataset_cards/NAME.md`, or a path ending in .md; left out: the recipe's name."""
    sources: dict[str, SourceSpec] = Field(min_length=1)
    """Name -> where raw files come from."""
    configs: dict[str, ConfigSpec] = Field(min_length=1)
    """Name -> a config of the dataset."""
    fields: dict[str, FieldSpec] = Field(default_factory=dict)
    """For every config: column -> where its value comes from."""
    media: dict[str, MediaSpec] = Field(default_factory=dict)
    """For every config: media column -> where its files come from."""
    fetch: FetchSpec = Field(default_factory=FetchSpec)
    """How media are fetched that rows name by URL."""
    rejects: RejectsSpec = Field(default_factory=RejectsSpec)
    """How much may be lost."""
    curate: list[CurateSpec] = Field(default_factory=list)
    """For every config: steps of curation."""
    shards: ShardsSpec = Field(default_factory=ShardsSpec)
    """How shards are cut."""
    publish: PublishSpec = Field(default_factory=PublishSpec)
    """Where the dataset is published."""
    train: dict[str, Any] | str | None = None
    """What `shardwright train` does with the dataset: the keys of docs/train.md, or the path of a file with them."""
