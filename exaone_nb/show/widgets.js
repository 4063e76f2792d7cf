// Controls that need no kernel. One file draws them in a report and in the output of a notebook, from data alone:
// <div class="enb-widget" data-widget="{kind, title, fields, words, data}">. Text is always text, never markup.
"use strict";
(function () {
  function make(tag, attributes, ...inside) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    made.append(...inside);
    return made;
  }
  const shown = (value) => typeof value === "number" ? value.toLocaleString("en-US", { maximumFractionDigits: 3 }) : String(value);
  const fill = (template, values) => template.replace(/\{(\w+)\}/g, (place, name) => name in values ? shown(values[name]) : place);

  // An expression that Python's `re` and JavaScript surely read alike is made of these pieces. Others are valid in only
  // one of them, (?i) and a++, or mean something else: {,3} and (?<=a+) and [a-\d].
  const PLAIN = "[\\w ,:;/\"'%&~@#!=<>-]|\\\\[dDwWsSbB]|\\\\[.*+?^$(){}|\\[\\]\\\\/-]|\\.";
  const CLASS = "\\[\\^?(?:[a-z]-[a-z]|[A-Z]-[A-Z]|\\d-\\d|[\\w .,:/]|\\\\[dDwWsS.\\]\\\\-])+-?\\]";
  const COUNT = "(?:[*+?]|\\{\\d{1,3}(?:,\\d{0,3})?\\})\\??(?![*+?{])";
  const ALIKE = new RegExp(`^(?:${PLAIN}|${CLASS}|\\((?:\\?[:=!]|(?!\\?))|\\)|[|^$]|${COUNT})*$`);

  /** What one entry of `ignore` does: which of `modules` it fits, or why that cannot be said. */
  function matched(entry, { modules, kinds }) {
    let fits = ([name, kind]) => name === entry || kinds[kind].classes.includes(entry);
    if (entry.startsWith("re:")) {
      if (!ALIKE.test(entry.slice(3))) return { state: "differs", found: [] };
      let expression;
      try { expression = new RegExp(entry.slice(3), "y"); } catch (error) { return { state: "invalid", found: [] }; }
      fits = ([name]) => { expression.lastIndex = 0; return expression.test(name); }; // from the beginning, as re.match
    }
    const found = modules.filter(fits);
    const linear = found.filter(([, kind]) => kinds[kind].linear).length;
    const state = !found.length ? "none" : found.every(([, kind]) => kinds[kind].parent) ? "parent" : linear ? "match" : "idle";
    return { state, found, linear };
  }

  // One function per kind: from the values of the fields to {lines, head, rows, marked, notes} and what a test asks for.
  const KINDS = {
    fit({ data, words }, v) {
      const cells = data.cells[v.model][v.scheme], card = cells && cells[v.card];
      if (!card) return { verdict: cells ? words.none : words.unknown, lines: [cells ? words.none : words.unknown] };
      const options = data.contexts, at = options.indexOf(Number(v.context)), limit = data.limits[v.model];
      const rooms = card[v.cache], longest = rooms[options.length], most = rooms[at];
      const state = card.left <= 0 ? "large" : most >= v.requests ? "fits" : most ? "wait" : longest ? "short" : "full";
      const verdict = fill(words[state], { most, longest });
      const rows = options.map((tokens, i) => [Math.min(tokens, limit), rooms[i]]).filter(([tokens], i) => !i || tokens > options[i - 1]);
      const left = [fill(words.left, { gib: card.left / 2 ** 30 }), longest && fill(words.longest, { longest })];
      return { verdict, lines: [verdict, left.filter(Boolean).join(" ")], head: words.head, rows, marked: Math.min(at, rows.length - 1) };
    },
    score({ data, words }, v) {
      const weights = data[v.phase];
      const parts = [v.accuracy / v.base, 1 - v.seconds / 100, 1 - v.bytes / 100];
      let total = weights[0] * parts[0] + weights[1] * parts[1];
      if (weights[2]) total += weights[2] * parts[2];
      const score = Math.max(total, 0);
      const rows = ["PerfNorm", "SpeedNorm", "SizeNorm"].map((name, i) => [name, parts[i], weights[i], weights[i] * parts[i]]);
      return { score, lines: [(words.formulas || {})[v.phase], fill(words.score, { score, base: weights[0] })].filter(Boolean), head: words.head, rows: rows.filter((row) => row[2]) };
    },
    items({ data, words }, v) {
      const drop = v.drop / 100, share = v.share / 100, accuracy = v.accuracy / 100;
      const level = data.level[v.level], power = data.power[v.power];
      let paired = null, unpaired = null;
      if (!(drop > 0)) return { paired, unpaired, lines: [words.none] };
      if (drop <= share && share <= 1) {
        const root = (level * Math.sqrt(share) + power * Math.sqrt(Math.max(0, share - drop * drop))) / drop;
        paired = Math.ceil(root * root);
      }
      const lower = accuracy - drop;
      if (lower >= 0 && accuracy <= 1) {
        const root = (level + power) / drop;
        unpaired = Math.ceil(root * root * (accuracy * (1 - accuracy) + lower * (1 - lower)));
      }
      return { paired, unpaired, lines: [paired ? fill(words.paired, { n: paired }) : words.impossible,
        unpaired ? fill(words.unpaired, { n: unpaired }) : words.below] };
    },
    patterns({ data, words }, v) {
      const entries = v.entries.split("\n").map((line) => line.trim()).filter(Boolean);
      const answers = entries.map((entry) => ({ entry, ...matched(entry, data) }));
      const kept = new Set(answers.flatMap(({ found }) => found.map(([name]) => name)));
      const linear = data.modules.filter(([, kind]) => data.kinds[kind].linear).map(([name]) => name), parts = new Map();
      for (const name of linear) {
        const part = name.replace(/\.\d+\./g, ".N."), [so_far, all] = parts.get(part) || [0, 0];
        parts.set(part, [so_far + kept.has(name), all + 1]);
      }
      const lines = answers.map(({ entry, state, found, linear }) =>
        fill(words[state], { entry, n: found.length, linear, first: (found[0] || [""])[0] }));
      lines.push(fill(words.sum, { kept: linear.filter((name) => kept.has(name)).length, all: linear.length }));
      return { answers, lines, head: words.head, rows: [...parts].map(([part, [kept, all]]) => [part, kept, all]) };
    },
    noise({ data, words }, v) {
      const notes = {}, given = data.filter(({ name }) => v[name]);
      for (const { name, right, why } of given) notes[name] = `${v[name] === right ? words.right : words.wrong} ${why}`;
      const right = given.filter((one) => v[one.name] === one.right).length;
      return { right, notes, lines: [fill(words.sum, { right, given: given.length, all: data.length })] };
    },
  };

  /** One field with its label: {control, value()}. */
  function field({ name, label, type, value, ...rest }, group) {
    if (type === "choice") {
      const note = make("p", { class: "told" });
      const buttons = rest.options.map(([key, text]) => [make("input", { type: "radio", name: `${group}-${name}`, value: key }), text]);
      const labels = buttons.map(([button, text]) => make("label", {}, button, ` ${text}`));
      const control = make("fieldset", {}, make("legend", {}, label), ...labels, note);
      return { name, control, note, value: () => (buttons.find(([button]) => button.checked) || [{ value: "" }])[0].value };
    }
    const control = make({ select: "select", text: "textarea" }[type] || "input", type === "text" ? { rows: 4, spellcheck: "false" } : {});
    if (type === "select") control.append(...rest.options.map(([key, text]) => make("option", { value: key }, text)));
    if (type === "number" || type === "range") for (const [key, limit] of Object.entries({ type, ...rest })) control.setAttribute(key, limit);
    control.value = value;
    const figure = make("b", {});
    const show = () => { if (type === "range") figure.textContent = ` ${control.value}`; };
    control.addEventListener("input", show);
    show();
    const given = () => type === "number" || type === "range" ? Number(control.value) : control.value;
    return { name, control: make("label", { class: type }, label, figure, control), value: given };
  }

  function draw(place) {
    const widget = JSON.parse(place.dataset.widget), group = Math.random().toString(36); // keeps radio buttons apart
    if (!Object.hasOwn(KINDS, widget.kind)) return;
    place.answer = (values) => KINDS[widget.kind](widget, values);
    const fields = widget.fields.map((one) => field(one, group));
    const told = make("div", { role: "status" });
    function refresh() {
      const { lines, head, rows, marked, notes = {} } = place.answer(Object.fromEntries(fields.map(({ name, value }) => [name, value()])));
      for (const { name, note } of fields) if (note) note.textContent = notes[name] || "";
      told.replaceChildren(...lines.map((line) => make("p", {}, line)));
      if (!rows) return;
      const split = (text) => text.split(/(?<=[._])/).flatMap((piece, i) => i ? [make("wbr"), piece] : [piece]); // a long name ends its lines there
      const cell = (tag, value) => typeof value === "number" ? make(tag, { class: "number" }, shown(value)) : make(tag, {}, ...split(shown(value)));
      const body = rows.map((row, i) => make("tr", i === marked ? { "aria-current": "true" } : {}, ...row.map((value) => cell("td", value))));
      const heads = head.map((text, i) => make("th", { scope: "col", ...(rows.length && typeof rows[0][i] === "number" ? { class: "number" } : {}) }, text));
      told.append(make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body)));
    }
    refresh();
    place.replaceChildren(make("p", { class: "title" }, widget.title), make("div", { class: "fields" }, ...fields.map(({ control }) => control)), told);
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", widget.title);
    place.addEventListener("input", refresh);
  }
  for (const place of document.querySelectorAll(".enb-widget[data-widget]:not([role])")) {
    try { draw(place); } catch (error) { /* data of another version: what stood there stays, and the others are drawn */ }
  }
}());
