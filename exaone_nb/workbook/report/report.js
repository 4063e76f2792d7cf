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
    button.textContent = dark() ? button.dataset.light : button.dataset.dark;
    button.setAttribute("aria-label", dark() ? button.dataset.toLight : button.dataset.toDark);
  }
  button.hidden = false;
  button.addEventListener("click", function () {
    choice = dark() ? "light" : "dark";
    try { localStorage.setItem("exaone-nb-theme", choice); } catch (e) { /* the choice then lasts for this page */ }
    apply();
  });
  system.addEventListener("change", apply);
  apply();

  // Tables: a button in every column head sorts by that column: by the numbers in data-sort, then by the text.
  function compare(one, other) {
    const numbers = [parseFloat(one.dataset.sort), parseFloat(other.dataset.sort)];
    if (numbers.every(Number.isFinite)) return numbers[0] - numbers[1];
    if (numbers.some(Number.isFinite)) return Number.isFinite(numbers[0]) ? -1 : 1;
    return one.textContent.localeCompare(other.textContent, undefined, { numeric: true });
  }
  function sort(table, column, head) {
    const down = head.getAttribute("aria-sort") === "ascending";
    const body = table.tBodies[0], rows = Array.from(body.rows);
    function empty(row) { return row.cells[column].textContent.trim() === ""; }
    rows.sort(function (a, b) {
      if (empty(a) || empty(b)) return empty(a) - empty(b);
      return (down ? -1 : 1) * compare(a.cells[column], b.cells[column]);
    });
    rows.forEach(function (row) { body.appendChild(row); });
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
      if (cells.length && cells.every(function (c) { return c.classList.contains("number"); })) {
        head.classList.add("number");
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

  // On a narrow screen a table that has to scroll would set a word a line, for a browser makes its columns as narrow as
  // they can be. Each gets the room of its longest text instead, or of a part of it; for a head, a few lines will do.
  const narrow = matchMedia("(max-width: 40rem)");
  function heads(table) { return table.tHead ? Array.from(table.tHead.rows[table.tHead.rows.length - 1].cells) : []; }
  function widths(cells) { return Array.from(cells, function (cell) { return Math.ceil(cell.getBoundingClientRect().width); }); }
  function giveRoom(tables) {
    const rem = parseFloat(getComputedStyle(root).fontSize);
    tables.forEach(function (table) { table.style.width = "max-content"; });
    const whole = tables.map(function (table) { return widths(heads(table)); });
    tables.forEach(function (table) { if (table.tHead) table.tHead.style.display = "none"; });
    const texts = tables.map(function (table) { return widths(table.querySelectorAll("tbody > tr:first-child > *")); });
    tables.forEach(function (table, n) {
      table.style.width = "";
      if (table.tHead) table.tHead.style.display = "";
      heads(table).forEach(function (head, column) {
        const text = texts[n][column] || 0; // in one line
        const some = Math.max(9 * rem, Math.min(text / 2, 14 * rem), Math.min(text / 6, 20 * rem));
        const room = Math.max(Math.min(text, some), Math.min(whole[n][column], 6 * rem));
        head.style.setProperty("--room", room + "px");
      });
    });
  }

  // A table or a figure that is wider than its place says so; a keyboard can then scroll it too.
  function measure() {
    const boxes = Array.from(document.querySelectorAll(".scroll, .rich, figure.enb, pre.drawn"));
    const tables = boxes.flatMap(function (box) { return Array.from(box.querySelectorAll("table")); });
    tables.forEach(function (table) { heads(table).forEach(function (head) { head.style.removeProperty("--room"); }); });
    const wide = boxes.map(function (box) {
      return !box.querySelector("img.whole") && box.scrollWidth > box.clientWidth + 8; // less than that is padding
    });
    boxes.forEach(function (box, n) {
      let hint = box.previousElementSibling;
      if (!hint || !hint.classList.contains("scrolls")) {
        if (!wide[n]) return;
        hint = document.createElement("p");
        hint.className = "scrolls";
        hint.textContent = box.matches("figure") ? button.dataset.figureScrolls : button.dataset.scrolls;
        box.before(hint);
        box.tabIndex = 0;
      }
      hint.hidden = !wide[n];
    });
    if (narrow.matches) giveRoom(tables.filter(function (table) { return wide[boxes.indexOf(table.parentElement)]; }));
  }
  addEventListener("load", function () {
    document.querySelectorAll("figure.enb img").forEach(function (picture) {
      picture.style.setProperty("--drawn", picture.naturalWidth + "px");
    });
    measure();
  });
  addEventListener("resize", measure);
  document.addEventListener("toggle", measure, true);
  measure();

  // A click or a tap shows a picture in its own size, and another one fits it to the page again.
  document.querySelectorAll("figure img").forEach(function (picture) {
    picture.addEventListener("click", function () { picture.classList.toggle("whole"); });
  });

  // Paper shows everything that is folded on the screen, the code aside.
  let opened = [];
  addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll("details:not([open]):not(.code):not(.messages)"));
    opened.forEach(function (d) { d.open = true; });
  });
  addEventListener("afterprint", function () { opened.forEach(function (d) { d.open = false; }); });
}());
