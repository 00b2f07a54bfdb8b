"use strict";
// Verdicts, tables and the first matrix can be read without this script. It unpacks the rest, sorts, searches, filters and
// exports tables, and shows pairs.
// Rows from which on a table is searched rather than read.
const FEW = 6;
const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};
// What a list shows: texts, and the names of pictures.
const textOf = cell => {
  const items = [...cell.querySelectorAll("li")].map(item => item.querySelector("img")?.alt ?? item.textContent);
  return items.length ? items.join(", ") : cell.textContent.trim();
};
const valueOf = cell => cell?.dataset.v !== undefined ? Number(cell.dataset.v) : cell ? textOf(cell) : "";
const quoted = text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;

async function unpacked(element) {
  const bytes = Uint8Array.from(atob(element.textContent), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  element.remove();
  return new Response(stream).json();
}

function compare(a, b) {
  // What is missing comes last, whichever way is up.
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", {numeric: true});
}

function sortable(table) {
  const heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => {
    head.setAttribute("aria-sort", "none");
    head.replaceChildren(make("button", {type: "button", textContent: head.textContent, onclick: () => {
      const numbers = [...table.tBodies[0].rows].some(row => row.cells[column]?.dataset.v !== undefined);
      const before = head.getAttribute("aria-sort");
      const up = before === "none" ? !numbers : before === "descending";
      heads.forEach(other => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].map(row => [valueOf(row.cells[column]), row]);
      const [empty, full] = [rows.filter(([value]) => value === ""), rows.filter(([value]) => value !== "")];
      full.sort(([a], [b]) => up ? compare(a, b) : compare(b, a));
      table.tBodies[0].append(...[...full, ...empty].map(([, row]) => row));
    }}));
  });
}

function exported(name, table) {
  const lines = [...table.rows].filter(row => !row.hidden).map(row =>
    [...row.cells].map(cell => quoted(String(valueOf(cell)).replaceAll("\u2212", "-"))).join(","));
  const address = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], {type: "text/csv"}));
  make("a", {href: address, download: `${name}.csv`}).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

async function tools(grid) {
  const rest = grid.querySelector("script.packed");
  if (rest) grid.querySelector("tbody").insertAdjacentHTML("beforeend", await unpacked(rest));
  const table = grid.querySelector("table");
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 2) return;
  sortable(table);
  if (rows.length < FEW) return;
  const texts = new Map(rows.map(row => [row, [...row.cells].map(textOf).join(" ").toLowerCase()]));
  const count = make("output");
  count.setAttribute("aria-live", "polite");
  const search = make("input", {type: "search"});
  const choices = [...table.querySelectorAll("thead th")].flatMap((head, column) => {
    if (!("filter" in head.dataset)) return [];
    const values = [...new Set(rows.map(row => row.cells[column].textContent))].sort();
    if (values.length < 2) return [];
    const select = make("select", {}, make("option", {value: "", textContent: "all"}),
      ...values.filter(Boolean).map(value => make("option", {value, textContent: value})));
    return [{column, select, label: make("label", {}, head.textContent, select)}];
  });
  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = words.every(word => texts.get(row).includes(word)) &&
        choices.every(({column, select}) => !select.value || row.cells[column].textContent === select.value);
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
  };
  search.addEventListener("input", update);
  choices.forEach(({select}) => select.addEventListener("change", update));
  const save = make("button", {type: "button", textContent: "Export CSV", onclick: () => exported(grid.dataset.name, table)});
  grid.prepend(make("div", {className: "tools"}, make("label", {}, "Search", search),
    ...choices.map(({label}) => label), save, count));
  update();
}

// One stop for the Tab key, and arrows from cell to cell: of 36 systems there are 1,260.
const ARROWS = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
function steered(matrix) {
  const links = [...matrix.querySelectorAll("a")];
  const stop = link => links.forEach(other => { other.tabIndex = other === link ? 0 : -1; });
  stop(links[0]);
  matrix.addEventListener("focusin", event => { if (event.target.matches("a")) stop(event.target); });
  matrix.addEventListener("keydown", event => {
    const [down, right] = ARROWS[event.key] ?? [];
    if (down === undefined || !event.target.matches("a")) return;
    event.preventDefault();
    const rows = matrix.querySelector("tbody").rows;
    const cell = event.target.closest("td");
    let [row, column] = [cell.parentElement.sectionRowIndex + down, cell.cellIndex + right];
    // What is without a link, as the diagonal, is passed over.
    while (rows[row]?.cells[column] && !rows[row].cells[column].querySelector("a")) [row, column] = [row + down, column + right];
    rows[row]?.cells[column]?.querySelector("a")?.focus();
  });
}

async function matrices() {
  const rest = document.getElementById("matrices-packed");
  if (rest) document.querySelector(".matrix").insertAdjacentHTML("afterend", await unpacked(rest));
  const all = [...document.querySelectorAll(".matrix")];
  all.forEach(steered);
  if (all.length < 2) return;
  const select = make("select", {}, ...all.map((matrix, place) =>
    make("option", {value: place, textContent: matrix.dataset.name})));
  const show = () => all.forEach((matrix, place) => { matrix.hidden = place !== Number(select.value); });
  select.addEventListener("change", show);
  all[0].before(make("div", {className: "tools"}, make("label", {}, "Matrix of", select)));
  show();
}

const asked = () => Number(location.hash.match(/^#pair-(\d+)$/)?.[1] ?? NaN);

// Where pairs are too many to stand on the page, one is shown at a time; the address says which.
async function pairs() {
  const source = document.getElementById("pairs-packed");
  if (!source) return () => {};
  const {systems, couples, panels, samples} = await unpacked(source);
  const box = document.getElementById("pair");
  const [one, other] = [make("select"), make("select")];
  const placeOf = (a, b) => couples.findIndex(pair => pair.includes(a) && pair.includes(b));
  const fill = (select, numbers, value) => {
    select.replaceChildren(...numbers.map(number => make("option", {value: number, textContent: systems[number]})));
    select.value = value;
  };
  const partners = a => [...systems.keys()].filter(b => b !== a && placeOf(a, b) >= 0);
  const show = (place, [a, b] = couples[place]) => {
    fill(one, [...systems.keys()], a);
    fill(other, partners(a), b);
    box.innerHTML = panels[place];
    box.querySelectorAll("[data-kept]").forEach(element => { element.innerHTML = samples[element.dataset.kept]; });
    box.hidden = false;
    box.querySelectorAll(".grid").forEach(tools);
  };
  const choose = () => {
    const a = Number(one.value);
    const b = partners(a).includes(Number(other.value)) ? Number(other.value) : partners(a)[0];
    const place = placeOf(a, b);
    // This moves the address without moving the reader.
    history.replaceState(null, "", `#pair-${place}`);
    show(place, [a, b]);
  };
  for (const select of [one, other]) select.addEventListener("change", choose);
  box.before(make("div", {className: "tools"}, make("label", {}, "One system", one), make("label", {}, "The other", other)));
  show(0);
  return () => {
    if (!(asked() < panels.length)) return;
    show(asked());
    box.focus({preventScroll: true});
    box.scrollIntoView();
  };
}

function open() {
  const target = Number.isNaN(asked()) ? null : document.getElementById(location.hash.slice(1));
  const pair = target?.closest("details");
  if (!pair) return;
  pair.open = true;
  target.focus({preventScroll: true});
  pair.scrollIntoView();
}

function pasteable(box) {
  const text = box.querySelector("p");
  box.append(make("button", {type: "button", textContent: "Copy", onclick: async event => {
    const button = event.currentTarget;
    getSelection().selectAllChildren(text);
    try { await navigator.clipboard.writeText(text.textContent); } catch { document.execCommand("copy"); }
    button.textContent = "Copied";
  }}));
}

async function start() {
  const shown = await pairs();
  const go = () => { open(); shown(); };
  addEventListener("hashchange", go);
  // The same cell again changes no address.
  document.addEventListener("click", event => { if (event.target.closest(".matrix a")) setTimeout(go); });
  await matrices();
  document.querySelectorAll(".paste").forEach(pasteable);
  for (const grid of document.querySelectorAll("main > section > .grid")) await tools(grid);
  go();
  document.documentElement.dataset.ready = "";
}
start();
