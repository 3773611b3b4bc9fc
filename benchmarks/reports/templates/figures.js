"use strict";
(() => {
  const NARROWEST = 150;
  const figures = [...document.querySelectorAll("figure")];

  // The plots within a specification whose width can be set.
  function plots(shown) {
    if (shown.vconcat) return shown.vconcat;
    return [shown.spec ?? shown];
  }

  function sized(figure) {
    const shown = JSON.parse(figure.querySelector("script").textContent);
    const width = figure.querySelector(".plot").clientWidth;
    const labels = Math.min(shown.usermeta.labels, 0.4 * width);
    for (const plot of plots(shown)) {
      plot.width = Math.max(NARROWEST, width - labels - shown.usermeta.beside);
    }
    shown.config.axis.labelLimit = labels;
    shown.config.axis.titleLimit = width;
    shown.config.legend.columns = width < 500 ? 1 : 3;
    delete shown.config.background;
    return { background: null, ...shown };
  }

  async function draw(figure) {
    const plot = figure.querySelector(".plot");
    // Expressions are interpreted: the page allows no code that is made of texts.
    await window.draw(plot.firstElementChild, sized(figure), { ast: true, actions: false, renderer: "svg", logLevel: 1 });
    figure.dataset.drawn = "true";
  }

  // The rows behind a figure, for who cannot see it or wants to go on with them.
  function rows(figure) {
    const found = [];
    const look = (node) => {
      if (Array.isArray(node) && "value" in Object(node[0])) found.push(...node);
      else if (node && typeof node === "object") Object.values(node).forEach(look);
    };
    // Marks such as a floor's line have data of their own, which are in the figure's text.
    look(JSON.parse(figure.querySelector("script").textContent));
    return found;
  }

  function tabulate(figure) {
    const found = rows(figure);
    const names = [...new Set(found.flatMap(Object.keys))];
    const table = document.createElement("table");
    table.createCaption().textContent = `Data of: ${figure.querySelector("figcaption").textContent}`;
    const line = (section, kind, cells) => {
      const row = section.insertRow();
      for (const cell of cells) row.appendChild(document.createElement(kind)).textContent = cell ?? "";
    };
    line(table.createTHead(), "th", names);
    const body = table.createTBody();
    for (const row of found) line(body, "td", names.map((name) => row[name]));
    figure.querySelector("details .scroll").replaceChildren(table);
  }

  // Vega comes compressed, which halves the page; its policy allows this one script.
  async function load() {
    const packed = document.getElementById("vega").textContent;
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  async function drawAll() {
    for (const figure of figures) {
      await draw(figure);
      // What the reader does comes first.
      await new Promise((done) => setTimeout(done));
    }
  }

  for (const figure of figures) {
    figure.querySelector("details").addEventListener("toggle", () => tabulate(figure), { once: true });
  }
  load().then(drawAll);
  let resized, width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(resized);
    resized = setTimeout(drawAll, 150);
  });
})();
