"use strict";
// Everything can be read without this script; it sorts, searches, filters and exports tables, and opens pairs.
// Rows from which on a table is searched rather than read.
const FEW = 6;
const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};
const valueOf = cell => cell?.dataset.v !== undefined ? Number(cell.dataset.v) : cell?.textContent.trim() ?? "";
const quoted = text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;

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

function tools(grid) {
  const table = grid.querySelector("table");
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 2) return;
  sortable(table);
  if (rows.length < FEW) return;
  const texts = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));
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

function chosen(matrices) {
  if (matrices.length < 2) return;
  const select = make("select", {}, ...matrices.map((matrix, place) =>
    make("option", {value: place, textContent: matrix.dataset.name})));
  const show = () => matrices.forEach((matrix, place) => { matrix.hidden = place !== Number(select.value); });
  select.addEventListener("change", show);
  matrices[0].before(make("div", {className: "tools"}, make("label", {}, "Matrix of", select)));
  show();
}

function open() {
  const target = document.getElementById(location.hash.slice(1));
  const pair = target?.closest("details");
  if (!pair) return;
  for (let fold = pair; fold; fold = fold.parentElement.closest("details")) fold.open = true;
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

document.querySelectorAll(".grid").forEach(tools);
chosen([...document.querySelectorAll(".matrix")]);
document.querySelectorAll(".paste").forEach(pasteable);
addEventListener("hashchange", open);
// The same cell again changes no address.
document.addEventListener("click", event => { if (event.target.closest(".matrix a")) setTimeout(open); });
open();
