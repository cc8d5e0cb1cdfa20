"""The style sheet of a report, for light and dark screens of any width."""

STYLE = """
:root { color-scheme: light dark; --paper: #f4f5f6; --card: #ffffff; --ink: #1d2226; --muted: #5f6971;
  --line: #e0e4e7; --accent: #0072b2; --bad: #d03030; --bar: #0072b238; --right: 0, 114, 178;
  --wrong: 213, 94, 0; --strong: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --paper: #121517; --card: #1b1f23; --ink: #e6e9eb;
  --muted: #9aa4ad; --line: #343a40; --accent: #56b4e9; --bad: #ff6b6b; --bar: #56b4e940;
  --right: 86, 180, 233; --wrong: 240, 128, 60; --strong: #121517; } }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, sans-serif; margin: 0; color: var(--ink); background: var(--paper); }
main { max-width: 74rem; margin: 0 auto; padding: 1.2rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .6rem 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .6rem; }
h3 { font-size: .95rem; margin: 1.4rem 0 .5rem; }
p { margin: .3rem 0 .8rem; max-width: 54rem; }
/* names in a script that runs the other way do not turn what stands beside them */
figcaption span, th, td, b, h1, .about, .legend span { unicode-bidi: isolate; }
.muted, .about { color: var(--muted); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .88rem; margin: .8rem 0 1rem; }
a { color: var(--accent); text-decoration: none; }
a:hover, a:focus { text-decoration: underline; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; margin: 1rem 0;
  padding: 1.1rem 1.2rem; scroll-margin-top: .5rem; }
.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem; }
.headline div { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: .6rem .9rem; }
.headline b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.headline span { color: var(--muted); font-size: .83rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: .8rem;
  align-items: start; justify-items: center; }
.plots img { display: block; width: 100%; max-width: 30rem; height: auto; }
.beside { display: grid; gap: 1.2rem; align-items: start; }
@media (min-width: 64rem) { .beside { grid-template-columns: 2fr 3fr; } }
.beside > div { min-width: 0; }
.map img { max-width: 46rem; }
.scroll { overflow: auto; max-height: 34rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
.data td, .data th { padding: .22rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
.data thead th { position: sticky; top: 0; background: var(--card); color: var(--muted); font-weight: 600; }
.data .name { text-align: left; }
.data td.bar { background: linear-gradient(90deg, var(--bar) var(--share), transparent var(--share)); }
.confusion { border-spacing: 1px; border-collapse: separate; margin: 0; line-height: 1; }
.confusion td { min-width: var(--cell); width: var(--cell); height: var(--cell); padding: 0;
  text-align: center; background: color-mix(in srgb, var(--line) 38%, transparent); }
.confusion thead td { background: none; }
.confusion .d { background: rgba(var(--right), var(--share, 6%)); }
.confusion .w { background: rgba(var(--wrong), var(--share)); }
.confusion .s { color: var(--strong); }
.confusion th { font-weight: 400; color: var(--muted); white-space: nowrap; }
.confusion tbody th { text-align: right; padding-right: .45rem; position: sticky; left: 0;
  background: var(--card); max-width: 9rem; overflow: hidden; text-overflow: ellipsis; }
.confusion thead th { vertical-align: bottom; padding: 0 0 .35rem; }
.confusion thead span { writing-mode: vertical-rl; transform: rotate(180deg); display: inline-block;
  max-height: 8.5rem; overflow: hidden; text-overflow: ellipsis; }
.few { --cell: 2.7rem; } .many { --cell: 1.42rem; font-size: .68rem; } .crowd { --cell: .95rem;
  font-size: .62rem; }
.matrix { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; }
.matrix > div { max-height: none; max-width: 100%; flex: 0 1 auto; }
.matrix > div + div { flex: 1 1 18rem; }
.words { columns: 19rem auto; padding-left: 1.3rem; margin: .8rem 0 0; }
.words li { break-inside: avoid; padding: .08rem 0; }
.query { display: grid; grid-template-columns: 6.4rem minmax(0, 1fr); gap: .4rem 1.1rem; padding: .8rem 0;
  border-top: 1px solid var(--line); }
details > summary .muted { font-weight: 400; font-size: .85rem; }
details.asked { border-top: 1px solid var(--line); padding: .5rem 0; }
details.asked > .query:first-of-type { border-top: 0; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(4.6rem, 1fr)); gap: .6rem .5rem; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 14.5rem), 1fr));
  gap: .9rem; }
.pair { border: 1px solid var(--line); border-radius: 8px; padding: .55rem; }
.pair .two { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
.pair p { margin: 0 0 .4rem; font-size: .8rem; color: var(--muted); font-variant-numeric: tabular-nums; }
.pair p b { color: var(--ink); }
figure { margin: 0; min-width: 0; position: relative; }
.row figure { max-width: 6.6rem; }
figure img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff;
  border-radius: 5px; outline: 1px solid var(--line); }
figure img.tiny { image-rendering: pixelated; }
figcaption { font-size: .7rem; line-height: 1.25; color: var(--muted); margin-top: .25rem; }
figcaption span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
figure.wrong img { outline: 3px solid var(--bad); }
figure.wrong::after { content: "✕"; position: absolute; top: 4px; right: 4px; width: 1.1rem;
  height: 1.1rem; border-radius: 50%; background: var(--bad); color: var(--strong); font-weight: 700;
  font-size: .72rem; line-height: 1.1rem; text-align: center; }
figure.wrong .class { color: var(--bad); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem .9rem; font-size: .8rem; margin-top: .6rem; }
.legend i { font-style: normal; color: var(--light); margin-right: .3rem; }
@media (prefers-color-scheme: dark) { .legend i { color: var(--dark); } }
pre { font-size: .8rem; overflow-x: auto; margin: .6rem 0 0; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 34rem) {
  main { padding: .6rem .5rem 3rem; } section { padding: .9rem .7rem; }
  .query { grid-template-columns: 1fr; } .query > figure { display: grid;
    grid-template-columns: 5.4rem 1fr; gap: .6rem; align-items: end; }
  .row { grid-template-columns: repeat(auto-fill, minmax(4rem, 1fr)); }
  .pairs { grid-template-columns: 1fr 1fr; gap: .5rem; } .pair { padding: .4rem; }
  .headline { grid-template-columns: 1fr 1fr; }
  .confusion tbody th { max-width: 5.5rem; }
}
@media print { section { break-inside: avoid; } .scroll { max-height: none; } }
"""
