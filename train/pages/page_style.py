"""The looks of a page of predictions, in light and in dark, on a desk and on a phone."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f6f8fa; --card: #ffffff; --ink: #1f2328; --quiet: #59636e; --line: #d1d9e0; --link: #0969da;
  --said: #ffd7d5; --said-ink: #82071e; --missing: #d8f3dc; --missing-ink: #0b4d25; --good: #1a7f37; --bad: #cf222e;
  --soft: #f6f8fa;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0d1117; --card: #161b22; --ink: #e6edf3; --quiet: #9198a1; --line: #30363d; --link: #58a6ff;
    --said: #5b1a20; --said-ink: #ffd0cd; --missing: #12402a; --missing-ink: #b4f1c6; --good: #3fb950; --bad: #ff7b72;
    --soft: #0d1117;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; padding: 1.5rem 1rem 4rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", sans-serif;
}
main, header { max-width: 66rem; margin: 0 auto; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .75rem; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
.quiet { color: var(--quiet); }
.small { font-size: .87rem; overflow-wrap: anywhere; }
.facts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .6rem 1.2rem; margin: 0;
  padding: 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
}
.facts dt { color: var(--quiet); font-size: .8rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .45rem .8rem; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th { color: var(--quiet); font-weight: 500; font-size: .8rem; }
td:first-child, th:first-child { text-align: left; white-space: normal; }
tbody tr { border-top: 1px solid var(--line); }
.better { color: var(--good); } .worse { color: var(--bad); }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .8rem; }
.curves img {
  display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: .6rem;
}
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: .6rem; margin: 0 0 1.2rem; padding: 1rem;
  scroll-margin-top: .5rem;
}
.card:target { border-color: var(--link); box-shadow: 0 0 0 1px var(--link); }
.top { display: grid; gap: .4rem; margin-bottom: .7rem; }
.top h3 { font-size: .95rem; margin: 0; overflow-wrap: anywhere; }
.chips { display: flex; flex-wrap: wrap; gap: .35rem; font-size: .82rem; font-variant-numeric: tabular-nums; }
.chip { border: 1px solid var(--line); border-radius: 1rem; padding: .05rem .6rem; white-space: nowrap; }
.strip { display: flex; gap: .5rem; overflow-x: auto; padding-bottom: .4rem; margin-bottom: .7rem; }
.strip figure { margin: 0; flex: none; }
.strip img { display: block; height: 7.5rem; width: auto; border-radius: .35rem; background: var(--soft); }
.strip .image img { height: auto; max-height: 14rem; max-width: min(100%, 30rem); }
.strip .image { flex: 0 1 auto; max-width: 100%; }
.strip figcaption { color: var(--quiet); font-size: .72rem; margin-top: .15rem; }
.texts { display: grid; grid-template-columns: 5.5rem minmax(0, 1fr); gap: .45rem .9rem; margin: 0; }
.texts dt { color: var(--quiet); font-size: .82rem; padding-top: .28rem; }
.texts dd { margin: 0; }
.text {
  white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; max-height: 16rem; overflow-y: auto;
  padding: .25rem .6rem; border-radius: .35rem; background: var(--soft); tab-size: 4;
}
.prompt .text { background: none; padding-left: 0; color: var(--quiet); max-height: 8rem; }
.text ins, .legend ins {
  background: var(--said); color: var(--said-ink); text-decoration: underline; border-radius: .2rem;
  text-underline-offset: .2em;
}
.text del, .legend del {
  background: var(--missing); color: var(--missing-ink); text-decoration: none; border-radius: .2rem;
  outline: 1px dashed currentColor; outline-offset: -1px;
}
.note { color: var(--bad); font-size: .82rem; margin: .2rem 0 0; overflow-wrap: anywhere; }
.index { column-width: 15rem; column-gap: 1rem; margin: .5rem 0 0; padding: 0; list-style: none; font-size: .85rem; }
.index li { break-inside: avoid; display: flex; gap: .5rem; justify-content: space-between; }
.index a { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
summary { cursor: pointer; }
@media (max-width: 40rem) {
  body { padding: 1rem .6rem 3rem; font-size: 16px; }
  .texts { grid-template-columns: minmax(0, 1fr); gap: .1rem; }
  .texts dt { padding-top: .5rem; }
  .card { padding: .8rem; }
  .says { display: none; }
  th, td { padding: .4rem .5rem; white-space: normal; }
}
@media print { .text { max-height: none; } .card { break-inside: avoid; } }
"""
