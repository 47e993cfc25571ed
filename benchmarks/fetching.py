"""Media over HTTP into shards, against img2dataset and aria2c, from one nginx on loopback.

    python benchmarks/fetching.py [IMAGES] [CLIPS] [ROUNDS]

Needs `nginx`, `aria2c` and `img2dataset` on the PATH; a peer that is not there is left out, and said. Shardwright
hashes and probes every file (the default decodes its first frame) and writes the shards; img2dataset is told neither to
resize nor to encode; aria2c only downloads.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

from measure import Case, arguments, in_turn, print_machine, print_table, shardwright
from projects import make_pictures, put_aside, settle, write_recipe

NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  default_type application/octet-stream;
  types {{ image/jpeg jpg; video/mp4 mp4; }}
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  split_clients $request_id $fails {{ 5% 1; * 0; }}
  server {{
    listen 127.0.0.1:{port};
    root {folder}/source;
    location /flaky/ {{
      if ($fails) {{ return 503; }}
      alias {folder}/source/;
    }}
  }}
}}
"""
PORT = 18_765
CLIP_BYTES = 5_000_000


def main() -> None:
    images, clips, rounds = arguments(5_000, 200, 3)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # nginx's workers may be another user's
        print_machine()
        make_pictures(folder / "source", images)
        make_large_clips(folder / "source" / "clips", clips)
        server = serve(folder)
        try:
            measure_images(folder, images, rounds)
            measure_clips(folder, clips, rounds)
        finally:
            server.terminate()
            server.wait()


def make_large_clips(folder: Path, count: int) -> None:
    """Write clips that differ: a small real one, with a box of free space as large as wanted behind it."""
    from projects import make_clips

    made = folder.parent / "small"
    make_clips(made, 8)
    folder.mkdir()
    small = sorted((made / "clips").glob("*.mp4"))
    for number in range(count):
        data = small[number % len(small)].read_bytes()
        free = CLIP_BYTES - len(data)
        box = free.to_bytes(4, "big") + b"free" + number.to_bytes(8, "big") + bytes(free - 16)
        (folder / f"{number:04d}.mp4").write_bytes(data + box)


def serve(folder: Path) -> subprocess.Popen[bytes]:
    """Start nginx on the files."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=PORT))
    server = subprocess.Popen([program, "-c", str(config), "-p", str(folder), "-g", "daemon off;"])
    time.sleep(1)
    return server


def write_urls(folder: Path, name: str, column: str, names: list[str]) -> None:
    """Write rows that ask for URLs, and the list of URLs alone."""
    urls = [f"http://127.0.0.1:{PORT}/{one}" for one in names]
    lines = [json.dumps({column: url, "text": str(number)}) for number, url in enumerate(urls)]
    (folder / "source" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / f"{name}.txt").write_text("\n".join(urls) + "\n")


def measure_images(folder: Path, count: int, rounds: int) -> None:
    print(f"\n{count:,} JPEGs of about 36 kB\n")
    write_urls(folder, "images", "image", [f"images/{number:06d}.jpg" for number in range(count)])
    clean = partial(put_aside, folder, "work", "out", "cache", "peer")
    cases = []
    if (peer := shutil.which("img2dataset")) is not None:
        options = ["--output_format=parquet", "--resize_mode=no", "--processes_count=2", "--thread_count=32"]
        options += ["--disable_all_reencoding=True", "--number_sample_per_shard=10000", "--encode_format=jpg"]
        command = [peer, f"--url_list={folder / 'images.txt'}", f"--output_folder={folder / 'peer'}", *options]
        cases.append(Case("img2dataset", command, clean))
    else:
        print("img2dataset is not here\n")
    for probe in ("header", "decode"):
        recipe = write_recipe(folder, f"images-{probe}", "{image: image, text: string}", "images.jsonl", more(probe))
        cases.append(Case(f"shardwright, probe: {probe}", shardwright(recipe, folder), clean))
        if probe == "decode":
            again = shardwright(recipe, folder)
            cases.append(Case("the same, already in the store", again, partial(put_aside, folder, "work", "out")))
    settle()
    print_table(in_turn(cases, rounds), cases[0].name)
    print("\nof these, 5 % of all requests answered with 503\n")
    write_urls(folder, "flaky", "image", [f"flaky/images/{number:06d}.jpg" for number in range(count)])
    recipes = [
        write_recipe(folder, name, "{image: image, text: string}", f"{name}.jsonl", more("header"))
        for name in ("images", "flaky")
    ]
    names = ("shardwright, probe: header", "the same, 5 % fail")
    cases = [Case(name, shardwright(recipe, folder), clean) for name, recipe in zip(names, recipes, strict=True)]
    print_table(in_turn(cases, rounds), cases[0].name)


def measure_clips(folder: Path, count: int, rounds: int) -> None:
    print(f"\n{count:,} clips of {CLIP_BYTES / 1e6:g} MB\n")
    write_urls(folder, "clips", "video", [f"clips/{number:04d}.mp4" for number in range(count)])
    clean = partial(put_aside, folder, "work", "out", "cache", "peer")
    cases = []
    if (peer := shutil.which("aria2c")) is not None:
        options = ["-j16", "-x16", "--file-allocation=none", "--quiet=true", f"--dir={folder / 'peer'}"]
        cases.append(Case("aria2c, 16 connections", [peer, *options, f"-i{folder / 'clips.txt'}"], clean))
    else:
        print("aria2c is not here\n")
    # the cache stage is what aria2c does; the shards behind it are not
    recipe = write_recipe(folder, "clips", "{video: video, text: string}", "clips.jsonl", more("header", "video"))
    cases.append(Case("shardwright cache, probe: header", shardwright(recipe, folder, "cache"), clean))
    cases.append(Case("shardwright card, probe: header", shardwright(recipe, folder), clean))
    settle()
    print_table(in_turn(cases, rounds), cases[0].name)


def more(probe: str, column: str = "image") -> str:
    """Return what recipes of this server have in common."""
    return f"media: {{{column}: {{probe: {probe}}}}}\nfetch: {{allow_hosts: [127.0.0.1], per_host: 32}}\n"


if __name__ == "__main__":
    os.environ.pop("http_proxy", None)
    main()
