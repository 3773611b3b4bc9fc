"use strict";
const root = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const plots = [...document.querySelectorAll(".plot")];
const PRINTED_WIDTH = 680;
let printing = false;

function isDark() {
  if (printing) return false;
  return root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
}

// Figures are written in the colours of a light page.
function coloured(json) {
  if (!isDark()) return json;
  return json.replace(/"(#[0-9a-f]{6})"/g, (_, colour) => `"${DARK[colour] ?? colour}"`);
}

// The name of what a trace shows: its case, if it has one.
function nameOf(trace) {
  return trace.meta ?? trace.name;
}

function draw(plot) {
  const { data, layout } = JSON.parse(coloured(plot.source))[plot.view];
  for (const trace of data) if (plot.omitted.has(nameOf(trace))) trace.visible = "legendonly";
  layout.width = printing ? PRINTED_WIDTH : plot.clientWidth;
  // A finger that moves over a figure scrolls the page.
  if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
  // The zoom is kept, except in another view.
  layout.uirevision = plot.view;
  Plotly.react(plot, data, layout, { displayModeBar: false });
  // However many rows the legend takes in this window, the axes keep their height.
  const missing = layout.meta.height - plot._fullLayout._size.h;
  if (missing) Plotly.relayout(plot, { height: layout.height + missing });
}

// An entry of the legend stands for its case, the title of a group for all cases of the group.
function clicked(event) {
  const trace = event.data[event.curveNumber];
  const title = event.node.textContent;
  const traces = trace ? [trace] : event.data.filter((one) => one.legendgrouptitle?.text === title);
  return traces.map(nameOf);
}

function toggle(plot, names) {
  const hide = names.some((name) => !plot.omitted.has(name));
  for (const name of names) {
    if (hide) plot.omitted.add(name);
    else plot.omitted.delete(name);
  }
  draw(plot);
}

function isolate(plot, names, all) {
  const others = all.filter((name) => !names.includes(name));
  const alone = others.every((name) => plot.omitted.has(name));
  plot.omitted = new Set(alone ? [] : others);
  draw(plot);
}

for (const plot of plots) {
  plot.source = plot.nextElementSibling.textContent;
  plot.view = 0;
  plot.omitted = new Set();
  draw(plot);
  plot.on("plotly_legendclick", (event) => {
    toggle(plot, clicked(event));
    return false;
  });
  plot.on("plotly_legenddoubleclick", (event) => {
    isolate(plot, clicked(event), event.data.map(nameOf));
    return false;
  });
  const buttons = [...plot.parentElement.querySelectorAll(".views button")];
  buttons.forEach((button, view) => {
    button.addEventListener("click", () => {
      plot.view = view;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      draw(plot);
    });
  });
}

function drawAll() {
  plots.forEach(draw);
}

document.getElementById("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  drawAll();
});
prefersDark.addEventListener("change", drawAll);
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(drawAll, 100);
});
addEventListener("beforeprint", () => {
  printing = true;
  drawAll();
});
addEventListener("afterprint", () => {
  printing = false;
  drawAll();
});
