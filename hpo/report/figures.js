"use strict";
const css = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const resolve = value => {
  if (typeof value === "string") return value.startsWith("@") && css(value.slice(1)) || value;
  if (Array.isArray(value)) return value.map(resolve);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v)]));
  return value;
};
const NARROW = 560;
function draw() {
  for (const source of document.querySelectorAll("script[data-for]")) {
    const width = document.getElementById(source.dataset.for).clientWidth;
    const figure = resolve(JSON.parse(source.textContent));
    const layout = Object.assign({ height: 380, margin: { l: 60, r: 16, t: 16, b: 48 } }, figure.layout, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: { color: css("text"), family: "system-ui, sans-serif", size: 13 },
      hoverlabel: { align: "left", bgcolor: css("panel"), bordercolor: css("line"), font: { color: css("text") } },
    });
    layout.width = width;
    if (layout.grid && width < NARROW) {  // panels below each other
      const rows = figure.data.length;
      layout.height *= rows / layout.grid.rows;
      layout.grid = Object.assign({}, layout.grid, { rows, columns: 1, ygap: 0.35 });
    }
    if (layout.meta && width < layout.meta.named_from) delete layout.xaxis.dtick;
    layout.legend = Object.assign({ orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" }, layout.legend);
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis/.test(key)) layout[key] = Object.assign({ gridcolor: css("grid"), zerolinecolor: css("grid"), automargin: true }, layout[key]);
    }
    Plotly.react(source.dataset.for, figure.data, layout, { displayModeBar: false });
  }
}
draw();
let drawn = document.documentElement.clientWidth;
addEventListener("resize", () => {
  if (document.documentElement.clientWidth === drawn) return;
  drawn = document.documentElement.clientWidth;
  draw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
for (const [event, isPrint] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(event, () => {
    document.documentElement.classList.toggle("print", isPrint);
    draw();
  });
}
