"use strict";
// The table of cases: sorted, filtered, seen against a case; the address says how.
(() => {
  const table = document.getElementById("cases");
  const head = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const against = JSON.parse(document.getElementById("against").textContent);
  const controls = document.getElementById("controls");
  const status = document.getElementById("shown");
  const columns = head.map((cell) => cell.dataset.column);
  const usual = new Set(head.filter((cell) => !("optional" in cell.dataset)).map((c) => c.dataset.column));
  const facets = {};
  for (const name of controls.dataset.facets.split(" ")) {
    const values = [...new Set(rows.map((row) => row.dataset[name]))].filter(Boolean);
    if (values.length > 1) facets[name] = values;
  }
  let state;

  // What the address says; what it cannot mean is left out.
  function read() {
    const said = new URLSearchParams(location.hash.slice(1));
    const [sort, order] = (said.get("sort") ?? "").split(" ");
    const baseline = said.get("baseline");
    const chosen = said.getAll("column").filter((name) => columns.includes(name));
    state = {
      sort: columns.includes(sort) ? sort : "ms",
      descending: order === "down",
      baseline: against.cases.includes(baseline) ? baseline : "",
      columns: chosen.length ? new Set(["case", ...chosen]) : new Set(usual),
      shown: {},
    };
    for (const [name, values] of Object.entries(facets)) {
      const named = said.getAll(name).filter((value) => values.includes(value));
      state.shown[name] = new Set(named.length ? named : values);
    }
  }

  function write() {
    const said = new URLSearchParams();
    if (state.sort !== "ms" || state.descending) {
      said.set("sort", state.sort + (state.descending ? " down" : ""));
    }
    if (state.baseline) said.set("baseline", state.baseline);
    for (const [name, values] of Object.entries(facets)) {
      if (state.shown[name].size < values.length) {
        for (const value of state.shown[name]) said.append(name, value);
      }
    }
    const same = usual.size === state.columns.size && [...usual].every((c) => state.columns.has(c));
    if (!same) for (const name of state.columns) said.append("column", name);
    history.replaceState(null, "", `#${said}`);
  }

  // Rows by their places among the cases, before anything is sorted.
  const places = new Map(rows.map((row, place) => [row, place]));

  function seenAgainst(row) {
    return against.cells[places.get(row)][against.cases.indexOf(state.baseline)];
  }

  function key(row, column) {
    if (column === "times" || column === "verdict") {
      if (against.cases[places.get(row)] === state.baseline) return 1;
      return seenAgainst(row)?.[2] ?? "";
    }
    const value = row.cells[columns.indexOf(column)].dataset.key;
    return value === "" || Number.isNaN(Number(value)) ? value : Number(value);
  }

  // Cells that say nothing come last, whichever way the table is sorted.
  function compare(one, other) {
    const [a, b] = [key(one, state.sort), key(other, state.sort)];
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = typeof a === typeof b && typeof a === "number" ? a - b : String(a).localeCompare(b);
    return state.descending ? -order : order;
  }

  function fill() {
    const [times, verdict] = ["times", "verdict"].map((name) => columns.indexOf(name));
    for (const row of rows) {
      const own = against.cases[places.get(row)] === state.baseline;
      const seen = state.baseline && !own ? seenAgainst(row) : null;
      const nothing = state.baseline && !own ? ["not comparable", "–"] : ["", ""];
      row.cells[times].textContent = own ? "1" : seen ? seen[0] : nothing[1];
      row.cells[verdict].textContent = own ? "baseline" : seen ? seen[1] : nothing[0];
      row.cells[verdict].dataset.verdict = row.cells[verdict].textContent;
      row.classList.toggle("baseline", own);
      row.querySelector("button").setAttribute("aria-pressed", own);
    }
    const name = state.baseline || "the baseline";
    head[times].querySelector("button").textContent = `times ${name}`;
    head[verdict].querySelector("button").textContent = `against ${name}`;
  }

  function show() {
    fill();
    const focused = document.activeElement;
    for (const row of [...rows].sort(compare)) table.tBodies[0].append(row);
    // A row that is moved loses the focus.
    if (table.contains(focused)) focused.focus({ preventScroll: true });
    let count = 0;
    for (const row of rows) {
      row.hidden = Object.entries(state.shown).some(
        ([name, values]) => row.dataset[name] && !values.has(row.dataset[name]));
      count += !row.hidden;
    }
    columns.forEach((name, place) => {
      const seen = name === "times" || name === "verdict" ? state.baseline : state.columns.has(name);
      for (const row of [table.tHead.rows[0], ...rows]) row.cells[place].hidden = !seen;
      if (name !== state.sort) head[place].removeAttribute("aria-sort");
      else head[place].setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    });
    for (const box of controls.querySelectorAll("input")) {
      const { facet, value } = box.dataset;
      box.checked = facet === "column" ? state.columns.has(value) : state.shown[facet].has(value);
    }
    const baseline = state.baseline ? `, against ${state.baseline}` : "";
    status.textContent = `${count} of ${rows.length} cases${baseline}`;
  }

  function change(act) {
    act();
    write();
    show();
  }

  function button(cell, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.append(...cell.childNodes);
    made.addEventListener("click", () => change(act));
    cell.append(made);
  }

  function boxes(title, facet, values, toggle) {
    const set = document.createElement("fieldset");
    set.appendChild(document.createElement("legend")).textContent = title;
    for (const [value, name] of values) {
      const label = set.appendChild(document.createElement("label"));
      const box = label.appendChild(document.createElement("input"));
      box.type = "checkbox";
      Object.assign(box.dataset, { facet, value });
      box.addEventListener("change", () => change(() => toggle(value, box.checked)));
      label.append(` ${name}`);
    }
    controls.append(set);
  }

  function toggle(set, value, on) {
    if (on) set.add(value);
    else set.delete(value);
  }

  head.forEach((cell) => button(cell, () => {
    const name = cell.dataset.column;
    state.descending = state.sort === name && !state.descending;
    state.sort = name;
  }));
  for (const row of rows) {
    button(row.querySelector("th"), () => {
      const name = against.cases[places.get(row)];
      state.baseline = state.baseline === name ? "" : name;
    });
  }
  for (const [name, values] of Object.entries(facets)) {
    boxes(name, name, values.map((value) => [value, value]), (value, on) => {
      toggle(state.shown[name], value, on);
      // Nothing to see is nothing that anybody asks for.
      if (!state.shown[name].size) state.shown[name] = new Set(values);
    });
  }
  const optional = head.filter((cell) => !["case", "times", "verdict"].includes(cell.dataset.column));
  boxes("columns", "column", optional.map((cell) => [cell.dataset.column, cell.textContent.trim()]),
    (value, on) => toggle(state.columns, value, on));
  document.getElementById("reset").addEventListener("click", () => {
    history.replaceState(null, "", "#ranking");
    read();
    show();
  });
  document.getElementById("choose").hidden = false;
  addEventListener("hashchange", () => {
    read();
    show();
  });
  // A link to a section leaves in the address how the table is shown.
  for (const link of document.querySelectorAll("nav a")) {
    link.addEventListener("click", (event) => {
      if (!location.hash.includes("=")) return;
      event.preventDefault();
      document.getElementById(link.hash.slice(1)).scrollIntoView();
    });
  }
  read();
  show();
})();
