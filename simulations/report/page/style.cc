#include "simulations/report/page/html.h"

namespace edgetune {

// Colours of series begin with those of Okabe and Ito (Color Universal Design,
// 2008), which people with any colour vision tell apart; darker or lighter here
// so that lines stand out from the ground of either theme. Lines also differ in
// their dashes, and have their names beside them.
std::string_view PageStyle() {
  return R"css(:root {
  --ground: #f6f7f8; --card: #ffffff; --ink: #1a1e23; --soft: #57606a;
  --rule: #d7dce1; --grid: #e6e9ec; --none: #c9cfd6;
  --c0: #0072b2; --c1: #c04e00; --c2: #00846a; --c3: #a8447f; --c4: #9a6a00;
  --c5: #6653c9; --c6: #69737e; --c7: #87552a; --amber: #cc8800;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f1317; --card: #171c22; --ink: #e7eaee; --soft: #a0abb6;
    --rule: #303841; --grid: #29313a; --none: #4b5661;
    --c0: #5db8ec; --c1: #ff9354; --c2: #35c99f; --c3: #e894c8; --c4: #efbf4a;
    --c5: #aea1fa; --c6: #a5afba; --c7: #d3a67f; --amber: #efbf4a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
header { margin-bottom: 16px; }
h2 { font-size: 20px; margin: 40px 0 12px; }
p { margin: 0 0 12px; max-width: 72ch; overflow-wrap: anywhere; }
.lead, .note, figcaption span, caption { color: var(--soft); }
.warn { border-left: 4px solid var(--c1); padding: 8px 12px; background: var(--card); }
.tiles { display: grid; gap: 12px; margin: 20px 0;
  grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); }
.tiles div, figure, .wide, details { background: var(--card);
  border: 1px solid var(--rule); border-radius: 8px; }
.tiles div { padding: 12px 14px; }
dt { color: var(--soft); font-size: 14px; }
dd { margin: 0; font-size: 22px; font-weight: 600; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
dd.note { font-size: 13px; font-weight: 400; }
.figures { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
figure { margin: 0; padding: 14px; overflow-x: auto; }
figure.hero { grid-column: 1 / -1; }
figcaption { margin-bottom: 8px; }
figcaption b { display: block; }
figcaption span { font-size: 14px; display: block; }
svg { display: block; width: 100%; height: auto; min-width: 480px; }
.hero svg { min-width: 640px; }
svg text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  fill: var(--soft); font-variant-numeric: tabular-nums; }
svg text.name { font-weight: 600; }
.axis { stroke: var(--soft); } .grid { stroke: var(--grid); }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
.area { opacity: 0.25; } .mark { stroke: var(--ink); stroke-width: 2; }
.whisker { stroke: var(--ink); stroke-width: 1.5; }
.dot { fill: var(--card); stroke: var(--ink); stroke-width: 1.5; }
.reference { stroke-width: 1.5; stroke-dasharray: 2 4; }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); } .s2 { stroke: var(--c2); }
.s3 { stroke: var(--c3); } .s4 { stroke: var(--c4); } .s5 { stroke: var(--c5); }
.s6 { stroke: var(--c6); } .s7 { stroke: var(--c7); }
.f0 { fill: var(--c0); } .f1 { fill: var(--c1); } .f2 { fill: var(--c2); }
.f3 { fill: var(--c3); } .f4 { fill: var(--c4); } .f5 { fill: var(--c5); }
.f6 { fill: var(--c6); } .f7 { fill: var(--c7); } .fa { fill: var(--amber); } .fn { fill: var(--none); }
rect { stroke: var(--card); stroke-width: 0.75; }
svg text.f0 { fill: var(--c0); } svg text.f1 { fill: var(--c1); }
svg text.f2 { fill: var(--c2); } svg text.f3 { fill: var(--c3); }
svg text.f4 { fill: var(--c4); } svg text.f5 { fill: var(--c5); }
svg text.f6 { fill: var(--c6); } svg text.f7 { fill: var(--c7); }
.d1 { stroke-dasharray: 9 5; } .d2 { stroke-dasharray: 2 5; }
.d3 { stroke-dasharray: 10 4 2 4; }
.wide { overflow-x: auto; margin: 0 0 16px; }
.wide:focus-visible { outline: 2px solid var(--c0); }
table { border-collapse: collapse; font-size: 14px; width: 100%;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 10px 12px; }
th, td { padding: 5px 12px; text-align: right; white-space: nowrap;
  border-top: 1px solid var(--grid); font-weight: 400; }
thead th { font-weight: 600; vertical-align: bottom; white-space: normal; }
th.word, td.word { text-align: left; }
td.word { white-space: normal; overflow-wrap: anywhere; min-width: 12ch; }
details { padding: 0 14px; margin: 12px 0; }
summary { padding: 10px 0; cursor: pointer; }
details .wide { border: 0; }
li { max-width: 72ch; margin: 0 0 6px; }
@media print { body { background: none; } figure, tr { break-inside: avoid; } }
)css";
}

}  // namespace edgetune
