"use strict";
(function () {
  // Theme: follow the system until the reader chooses.
  const root = document.documentElement, button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let choice = null;
  try { choice = localStorage.getItem("exaone-nb-theme"); } catch (e) { /* storage is off for files in some browsers */ }
  function dark() { return choice ? choice === "dark" : system.matches; }
  function apply() {
    if (choice) root.dataset.theme = choice;
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", "Switch to " + button.textContent.toLowerCase() + " colours");
  }
  button.hidden = false;
  button.addEventListener("click", function () {
    choice = dark() ? "light" : "dark";
    try { localStorage.setItem("exaone-nb-theme", choice); } catch (e) { /* the choice then lasts for this page */ }
    apply();
  });
  system.addEventListener("change", apply);
  apply();

  // Tables: a button in every column head sorts by that column, numbers as numbers.
  function key(cell) {
    const text = cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim();
    const match = /^[~≈<>±$]?\s*([+\-−]?[\d,]*\.?\d+(?:[eE][+-]?\d+)?)/.exec(text);
    const number = match ? parseFloat(match[1].replace(/,/g, "").replace("−", "-")) : NaN;
    return { text: text, number: number };
  }
  function sort(table, column, head) {
    const down = head.getAttribute("aria-sort") === "ascending";
    const body = table.tBodies[0], rows = Array.from(body.rows);
    const keyed = rows.map(function (row) { return { row: row, key: key(row.cells[column] || row.cells[0]) }; });
    const numeric = keyed.every(function (k) { return k.key.text === "" || !isNaN(k.key.number); });
    keyed.sort(function (a, b) {
      if (a.key.text === "" || b.key.text === "") return (a.key.text === "") - (b.key.text === "");
      const order = numeric ? a.key.number - b.key.number : a.key.text.localeCompare(b.key.text, undefined, { numeric: true });
      return down ? -order : order;
    });
    keyed.forEach(function (k) { body.appendChild(k.row); });
    Array.from(head.parentElement.cells).forEach(function (cell) { cell.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    const row = table.tHead && table.tHead.rows[table.tHead.rows.length - 1];
    if (!row || !table.tBodies[0]) return;
    const regular = Array.from(table.tBodies[0].rows).every(function (r) { return r.cells.length === row.cells.length; });
    if (!regular) return;
    let digits = 0;
    Array.from(row.cells).forEach(function (head, column) {
      const cells = Array.from(table.tBodies[0].rows, function (r) { return r.cells[column]; });
      const plain = /^$|^[+\-−]?[\d,]*\.?\d+(?:[eE][+-]?\d+)?(?: ?(?:%|s|ms|[KMGT]i?B))?$/;
      if (cells.length && cells.every(function (c) { return plain.test(c.textContent.trim()); })) {
        [head].concat(cells).forEach(function (c) { c.classList.add("number"); });
        digits += 2 + Math.max.apply(null, cells.map(function (c) { return c.textContent.trim().length; }));
      }
      const control = document.createElement("button");
      control.type = "button";
      control.className = "sort";
      while (head.firstChild) control.appendChild(head.firstChild);
      head.appendChild(control);
      control.addEventListener("click", function () { sort(table, column, head); });
    });
    if (digits > 100) table.classList.add("dense"); // on paper its numbers may go on in the next line
  });

  // Paper shows everything that is folded on the screen, the code aside.
  let opened = [];
  addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll("details:not([open]):not(.code):not(.messages)"));
    opened.forEach(function (d) { d.open = true; });
  });
  addEventListener("afterprint", function () { opened.forEach(function (d) { d.open = false; }); });
}());
