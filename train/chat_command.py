"""The command `chat`: a conversation with a model in the terminal, or over a pipe."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from train.model_options import changed_media, media_options, model_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.media.bounded import BoundedProcesses
    from train.evaluation.asked_model import AskedModel
    from train.evaluation.media_file import Shown
    from train.example import Medium, Turn

HELP = """/image PATH   show a picture with the next question
/video PATH   show a video with the next question
/clear        begin anew
/quit         end; so does Ctrl-D. Ctrl-C ends an answer"""


@click.command()
@click.argument("model")
@click.option("--image", "images", multiple=True, help="A picture shown with the first question; repeatable.")
@click.option("--video", "videos", multiple=True, help="A video shown with the first question; repeatable.")
@click.option("--system", default="", help="What the system says before.")
@click.option(
    "--max-new-tokens", type=click.IntRange(1), default=512, show_default=True, help="Of an answer at the most."
)
@media_options
@model_options
def chat(model: str, **options: Any) -> None:
    """Talk with a model about pictures and videos.

    MODEL is a run's folder, one of its checkpoints (best, last, merged), adapters, a model's folder, or owner/name of
    one that was downloaded. Lines are questions, or /image PATH, /video PATH, /clear, /quit. What was said is kept, so
    each question can refer to it. A line of a pipe is a question like one that is typed.
    """
    run_chat(model, lines=sys.stdin, **options)


def run_chat(
    model: str,
    *,
    lines: TextIO,
    images: tuple[str, ...],
    videos: tuple[str, ...],
    system: str,
    max_new_tokens: int,
    frames: int | None,
    fps: float | None,
    max_frames: int | None,
    longest_side: int | None,
    device: str,
    precision: str,
) -> None:
    """Answer line after line, until there is none.

    Raises:
        ShardwrightError: there is no such model, picture or video.
    """
    from pipeline.media.bounded import BoundedProcesses
    from train.evaluation.asked_model import asked_model, device_for, opened, quieted
    from train.evaluation.media_file import shown_by
    from train.no_network import no_network

    quieted()
    changed = changed_media(frames=frames, fps=fps, max_frames=max_frames, longest_side=longest_side)
    place = device_for(device, precision=precision)
    asked = asked_model(model)
    typed = lines.isatty()
    shown = shown_by(asked.run, changed)
    with no_network(), BoundedProcesses(1) as decoders:
        talk = Talk(asked, shown, decoders, system=system, max_new_tokens=max_new_tokens, say=_say)
        for kind, paths in (("image", images), ("video", videos)):
            for path in paths:
                talk.show(kind, path)
        with opened(asked, place) as loaded:
            if typed:
                with suppress(ImportError):
                    # lines can be mended and come again with it
                    import readline  # noqa: F401
                _say("\n".join(filter(None, [place.note, HELP])) + "\n")
            for line in _lines(lines, typed=typed):
                if not talk.heard(line.strip(), loaded):
                    return


@dataclass
class Talk:
    """What was said so far."""

    asked: AskedModel
    shown: Shown
    decoders: BoundedProcesses
    system: str
    max_new_tokens: int
    say: Callable[[str], object]
    turns: list[Turn] = field(default_factory=list)
    waiting: list[Medium] = field(default_factory=list)
    """Media that are shown with the next question."""

    def heard(self, line: str, loaded: Any) -> bool:
        """Do what a line says; tells whether to go on.

        What cannot be done is said, and nothing else changes.
        """
        from pipeline.errors import ShardwrightError

        word, _, rest = line.partition(" ")
        match word:
            case "":
                pass
            case "/quit" | "/exit":
                return False
            case "/clear":
                self.turns.clear()
                self.waiting.clear()
                self.say("(begun anew)\n")
            case "/help":
                self.say(f"{HELP}\n")
            case "/image" | "/video":
                try:
                    self.show(word[1:], rest)
                    self.say(f"({word[1:]} is shown with the next question)\n")
                except ShardwrightError as error:
                    self.say(f"error: {error}\n")
            case _ if word.startswith("/") and not Path(word).exists():
                self.say(f"error: there is no command {word}\n{HELP}\n")
            case _:
                self.answer(line, loaded)
        return True

    def show(self, kind: Any, path: str) -> None:
        """Show a picture or a video with the next question.

        Raises:
            UsageError: there is none at this path, or it cannot be used.
        """
        from pipeline.errors import RowRejected, UsageError
        from train.evaluation.media_file import decoded, looked_at, media_file

        path = path.strip()
        if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
            path = path[1:-1]
        file = media_file(Path(path).expanduser(), kind)
        ((_, record),) = looked_at([file], self.decoders)
        try:
            self.waiting.append(decoded(file, record, self.shown))
        except RowRejected as error:
            raise UsageError(f"{path} cannot be shown: {error.message} ({error.code})") from None

    def answer(self, question: str, loaded: Any) -> None:
        """Have a question answered, piece by piece; a question that the model cannot be asked is taken back."""
        from pipeline.errors import RowRejected
        from train.evaluation.generate import answers_to
        from train.example import Example, RowRef, Turn

        asked = self.asked
        first = [Turn(role="system", parts=(self.system,))] if self.system else []
        turns = [*self.turns, Turn(role="user", parts=(*self.waiting, question))]
        self.waiting.clear()
        row = RowRef(number=len(self.turns) // 2, shard="chat", row=len(self.turns) // 2)
        try:
            prompt = asked.family.prompt(asked.processor, Example(row=row, turns=(*first, *turns)))
        except RowRejected as error:
            self.say(f"error: {error.message} ({error.code})\n")
            return
        if asked.positions is not None and prompt.length >= asked.positions:
            what = f"what was said has {prompt.length:,} tokens, and the model has positions for {asked.positions:,}"
            self.say(f"error: {what}; /clear begins anew\n")
            return
        with _ended_by_ctrl_c() as stopping:
            (found,) = answers_to(
                loaded,
                asked.processor,
                asked.family,
                [prompt],
                max_new_tokens=self.max_new_tokens,
                heard=self.say,
                stopping=stopping,
            )
        self.say(" (cut off)\n" if found.cut_off else "\n")
        self.turns = [*turns, Turn(role="assistant", parts=(found.text,))]


def _lines(lines: TextIO, *, typed: bool) -> Iterator[str]:
    """Yield lines until there is none; Ctrl-C while one is typed drops it."""
    while True:
        try:
            if typed:
                yield input("> ")
                continue
            line = lines.readline()
            if not line:
                return
            yield line
        except EOFError:
            _say("\n")
            return
        except KeyboardInterrupt:
            if not typed:
                raise
            _say("\n")


@contextmanager
def _ended_by_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Give what tells whether Ctrl-C was pressed, which then ends an answer and not the command."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _say(text: str) -> None:
    from pipeline.printable import escaped

    sys.stdout.write(escaped(text, keep="\n"))
    sys.stdout.flush()
