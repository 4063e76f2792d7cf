// The page: inputs become questions to the command line (worker.js), and its JSON becomes tables. No arithmetic here.
const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
const form = document.getElementById("inputs");
const fields = form.elements;
const BATCHES = [1, 4, 16, 64, 256];
const PASTED = "pasted";
const LINKED = ["model", "card", "scheme", "context", "at_once", "kv", "config", "recipe", "recipe_text"];
let choices, lent = null, round = 0, number = 0;

worker.onmessage = ({ data: { id, reply, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  error ? reject(new Error(error)) : resolve(reply);
};
function send(what, given) {
  return new Promise((resolve, reject) => {
    waiting.set(++number, { resolve, reject });
    worker.postMessage({ id: number, what, given });
  });
}
/** What the command line prints for these words: {code, out, err}. */
async function ask(...words) {
  return JSON.parse(await send("ask", words));
}
Object.assign(window, { ask, send });

// --- building what is shown: text is always text, never markup
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
const whole = (n) => n.toLocaleString("en-US", { maximumFractionDigits: 0 });
const digits = (n, most = 3) => n.toLocaleString("en-US", { maximumSignificantDigits: most });
const gb = (bytes) => `${(bytes / 1e9).toFixed(3)} GB`;
const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;

function table(columns, rows) {
  const head = element("tr", {}, ...columns.map(({ name, number }) => element("th", number ? { class: "number" } : {}, name)));
  const body = rows.map((row) =>
    element("tr", row.chosen ? { class: "chosen" } : {},
      ...columns.map(({ key, number, bar }) => {
        const value = row[key] ?? "";
        if (bar) return element("td", { class: "wide-bar" }, value === "" ? "" : element("span", { class: "meter", style: `width:${100 * value}%` }));
        return element("td", number ? { class: "number" } : {}, value);
      })));
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}
function refused(text) {
  return element("p", { class: "refused" }, text.replace(/^error: /, "").trim());
}
/** The question as one would type it, and on opening what the command line shows for it. */
function told(words) {
  const typed = `exaone-nb ${words.map((word) => (/^[\w.,/-]+$/.test(word) ? word : `'${word}'`)).join(" ")}`;
  const text = element("pre", {}, typed);
  const box = element("details", { class: "told" }, element("summary", {}, "The same on the command line"), text);
  box.addEventListener("toggle", async () => {
    if (!box.open || box.dataset.asked) return;
    box.dataset.asked = "yes";
    const { out, err } = await ask(...words);
    text.textContent = `$ ${typed}\n${out}${err}`;
  });
  return box;
}

// --- questions, one section each; a newer round stops an older one
function model() {
  return fields.model.value === PASTED ? PASTED : fields.model.value;
}
function scheme() {
  return fields.scheme.value ? ["--scheme", fields.scheme.value] : [];
}
function section(id, ...shown) {
  const place = document.getElementById(id);
  place.classList.remove("waiting");
  place.querySelector(".answer").replaceChildren(...shown);
}

async function showFit() {
  const words = ["memory", model(), "--gpu", fields.card.value, ...scheme(), "--kv-dtype", fields.kv.value, "--concurrency", fields.at_once.value || "1"];
  if (fields.context.value) words.push("--context", fields.context.value);
  const { out, err } = await ask(...words, "--json");
  if (!out) return section("fit", refused(err), told(words));
  const found = JSON.parse(out);
  const verdict = !found.runs ? `No kernel: ${found.reason}` : found.fits
    ? `Fits on ${found.gpu}: ${whole(found.largest_concurrency)} requests of ${whole(found.context)} tokens at once.`
    : `Does not fit on ${found.gpu}: ${whole(found.concurrency)} x ${whole(found.context)} tokens.`;
  const overhead = found.overheads.reduce((sum, part) => sum + part.bytes, 0);
  const parts = [["weights", "weights", found.weight_bytes], ["overhead", "engine (estimated)", overhead], ["cache", "KV cache for these requests", found.cache.bytes_needed]];
  const used = parts.reduce((sum, [, , bytes]) => sum + bytes, 0);
  const most = Math.max(found.budget_bytes, used);
  const stack = element("div", { class: "stack", role: "img", "aria-label": `${gib(used)} used of ${gib(found.budget_bytes)}` },
    ...parts.map(([name, , bytes]) => element("span", { class: name, style: `width:${(100 * bytes) / most}%` })));
  const key = element("ul", { class: "key" }, ...parts.map(([name, label, bytes]) => element("li", {}, element("i", { class: name }), `${label} ${gib(bytes)}`)),
    element("li", {}, element("i", { class: "free" }), `room ${gib(found.budget_bytes)} of ${gib(found.memory_bytes)}`));
  const lines = [found.gpu_remark, `Longest context for one request: ${whole(found.longest_context_one_request)} tokens.`,
    found.would_fit.length ? `What would fit: ${found.would_fit.map((offer) => offer.text).join("; ")}.` : "", ...found.notes];
  section("fit", element("p", { class: `verdict ${found.fits ? "yes" : "no"}` }, verdict), stack, key,
    ...lines.filter(Boolean).map((line) => element("p", {}, line)), told(words));
}

async function showSizes(mine) {
  const columns = [{ name: "format", key: "scheme" }, { name: "bytes", key: "bytes", number: true }, { name: "bits per parameter", key: "bits", number: true }, { name: "", key: "bar", bar: true }];
  const rows = [];
  let largest = 0;
  for (const name of choices.usual) {
    const { out } = await ask("size", model(), "--scheme", name, "--json");
    if (mine !== round) return;
    if (!out) continue;
    const [[label, found]] = Object.entries(JSON.parse(out).schemes);
    largest = Math.max(largest, found.file_bytes);
    rows.push({ scheme: label, size: found.file_bytes, bytes: whole(found.file_bytes), bits: found.bits_per_parameter.toFixed(2), chosen: name === fields.scheme.value });
    section("size", table(columns, rows.map((row) => ({ ...row, bar: row.size / largest }))), told(["size", model()]));
  }
  if (!rows.length) section("size", refused((await ask("size", model())).err), told(["size", model()]));
}

async function showCards(mine) {
  const columns = [{ name: "card", key: "card" }, { name: "fits", key: "fits" }, { name: "longest context", key: "longest", number: true }, { name: "requests at once", key: "many", number: true }, { name: "tokens/s at most, one request", key: "speed", number: true }];
  const rows = [];
  for (const card of choices.cards) {
    const common = [model(), "--gpu", card, ...scheme(), "--kv-dtype", fields.kv.value];
    const context = fields.context.value ? ["--context", fields.context.value] : [];
    const room = await ask("memory", ...common, ...context, "--json");
    if (mine !== round) return;
    if (!room.out) return section("cards", refused(room.err));
    const fast = await ask("speed", ...common, "--json");
    if (mine !== round) return;
    const found = JSON.parse(room.out);
    const rate = fast.out ? JSON.parse(fast.out).decode.tokens_per_second : null;
    rows.push({ card: found.gpu, fits: !found.runs ? "no kernel" : found.fits ? "yes" : "no", longest: whole(found.longest_context_one_request), many: whole(found.largest_concurrency), speed: rate ? digits(rate) : "", chosen: card === fields.card.value });
    section("cards", table(columns, rows), told(["memory", ...common, ...context]));
  }
}

async function showSpeed(mine) {
  const common = ["speed", model(), "--gpu", fields.card.value, ...scheme(), "--kv-dtype", fields.kv.value];
  if (fields.context.value) common.push("--context", fields.context.value);
  const answers = [];
  for (const batch of BATCHES) {
    const { out, err } = await ask(...common, "--batch", String(batch), "--json");
    if (mine !== round) return;
    if (!out) return section("speed", refused(err), told(common));
    answers.push(JSON.parse(out));
  }
  const [first] = answers;
  if (!first.runs) return section("speed", refused(first.reason), told(common));
  const columns = [{ name: "requests together", key: "batch", number: true }, { name: "tokens/s at most", key: "rate", number: true }, { name: "ms per step", key: "step", number: true }, { name: "bound by", key: "bound" }];
  const rows = answers.map(({ batch, decode }) => ({ batch: whole(batch), rate: digits(decode.tokens_per_second), step: digits(1e3 * decode.seconds_per_step), bound: decode.bound }));
  const { prefill } = first;
  const lines = [`Writing with ${whole(first.decode.context)} tokens in the cache; kernel ${first.kernel}. ${first.remark}`.trim(),
    `Reading a prompt of ${whole(prefill.tokens)} tokens takes ${digits(1e3 * prefill.seconds)} ms at least, bound by ${prefill.bound}.`];
  section("speed", table(columns, rows), roofline(answers), ...lines.map((line) => element("p", {}, line)), told(common));
}

function roofline(answers) {
  const points = answers.map(({ batch, decode }) => [decode.operations_per_byte, decode.operations_per_byte * (decode.weight_bytes_read + decode.cache_bytes_read) / decode.seconds_per_step, batch]);
  const [left, right] = [Math.min(...points.map((p) => p[0])) / 2, Math.max(...points.map((p) => p[0])) * 2];
  const [low, high] = [Math.min(...points.map((p) => p[1])) / 2, Math.max(...points.map((p) => p[1])) * 2];
  const x = (v) => 60 + (420 * Math.log(v / left)) / Math.log(right / left);
  const y = (v) => 220 - (190 * Math.log(v / low)) / Math.log(high / low);
  const svg = (tag, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text) made.textContent = text;
    return made;
  };
  const drawn = svg("svg", { viewBox: "0 0 500 262", role: "img", "aria-label": "Operations per second over operations per byte, one point per number of requests together; both axes logarithmic" });
  drawn.append(svg("path", { class: "axis", d: "M60 20V220H490", fill: "none" }), svg("text", { x: 275, y: 256, "text-anchor": "middle" }, "operations per byte (log)"), svg("text", { x: 14, y: 120, "text-anchor": "middle", transform: "rotate(-90 14 120)" }, "10¹² operations per s (log)"));
  drawn.append(svg("path", { class: "roof", d: `M${points.map(([a, b]) => `${x(a)} ${y(b)}`).join("L")}` }));
  for (const [a, b, batch] of points) {
    drawn.append(svg("circle", { cx: x(a), cy: y(b), r: 4 }), svg("text", { x: x(a) + 8, y: y(b) + 14 }, `${batch}`));
    if ([points[0], points.at(-1)].some((p) => p[2] === batch)) drawn.append(svg("text", { x: 54, y: y(b) + 4, "text-anchor": "end" }, digits(b / 1e12, 2)), svg("text", { x: x(a), y: 238, "text-anchor": "middle" }, digits(a, 2)));
  }
  return element("figure", {}, drawn, element("figcaption", {}, "Each point: that many requests written together. While the line rises, memory decides; where it is flat, arithmetic does."));
}

async function showPlan() {
  await send("recipe", fields.recipe_text.value);
  const words = ["plan", model(), "--recipe", "recipe.yaml", "--gpu", fields.card.value];
  const { out, err } = await ask(...words, "--json");
  if (!out) return section("plan", refused(err), told(words));
  const found = JSON.parse(out);
  const patterns = table([{ name: "pattern", key: "pattern" }, { name: "role", key: "role" }, { name: "modules", key: "modules", number: true }, { name: "with effect", key: "effective", number: true }],
    found.patterns.map((row) => ({ ...row, modules: whole(row.modules), effective: whole(row.effective) })));
  const parts = new Map();
  for (const [name, given] of Object.entries(found.modules)) {
    const part = `${name.replace(/\.\d+\./g, ".N.")}\n${given}`;
    parts.set(part, (parts.get(part) ?? 0) + 1);
  }
  const modules = table([{ name: "module", key: "module" }, { name: "count", key: "count", number: true }, { name: "gets", key: "given" }],
    [...parts].map(([part, count]) => ({ module: part.split("\n")[0], count: whole(count), given: part.split("\n")[1].replace(/^-$/, "kept") })));
  const bytes = found.predicted_bytes === null ? [] : [element("p", { class: "verdict" }, `${gb(found.predicted_bytes)} (${whole(found.predicted_bytes)} bytes); unquantized ${gb(found.unquantized_bytes)}.`)];
  const findings = found.findings.map(({ level, text, remedy }) => element("p", { class: `finding ${level}` }, element("b", {}, level), ` ${text} ${remedy}`));
  const served = found.serving.slice(1).map(({ where, answer, why }) => element("p", { class: "finding" }, element("b", {}, answer), ` ${where}: ${why}`));
  section("plan", ...bytes, ...findings, patterns, modules, ...served, told(words));
}

async function showNote() {
  const { out, err } = await ask("note", model());
  section("note", out ? element("pre", {}, out) : refused(err), told(["note", model()]));
}

async function showFile() {
  document.getElementById("file").hidden = !lent;
  if (!lent) return;
  // Beside a pasted config the file is held against it; alone it is described.
  const what = fields.config.value.trim() ? PASTED : `${PASTED}/model.safetensors`;
  const words = ["inspect", what];
  const { out, err } = await ask(...words, "--json");
  if (!out) return section("file", refused(err), told(words));
  const found = JSON.parse(out);
  const rows = Object.entries(found.by_component).map(([part, sum]) => ({ part, tensors: whole(sum.tensors), bytes: whole(sum.bytes), bar: sum.bytes / found.total.bytes }));
  section("file", element("p", { class: "verdict" }, `${lent.name}: ${whole(found.total.tensors)} tensors, ${whole(found.file_bytes)} bytes`),
    table([{ name: "part", key: "part" }, { name: "tensors", key: "tensors", number: true }, { name: "bytes", key: "bytes", number: true }, { name: "", key: "bar", bar: true }], rows),
    ...(err ? [refused(err)] : []), ...found.notes.map((line) => element("p", {}, line)), told(words));
}

// --- inputs, and the link that carries them
async function answer() {
  const mine = ++round;
  for (const place of document.querySelectorAll("section")) place.classList.add("waiting");
  remember();
  try {
    await send("paste", fields.model.value === PASTED ? fields.config.value : "");
    for (const show of [showFile, showFit, showSpeed, showPlan, showSizes, showNote, showCards]) {
      if (mine !== round) return;
      await show(mine);
    }
  } catch (error) {
    failed(error);
  }
}
let later;
function soon(what = answer) {
  clearTimeout(later);
  later = setTimeout(what, 250);
}
function remember() {
  const inputs = new URLSearchParams();
  for (const name of LINKED) {
    const value = fields[name].value;
    if (value && !(name === "recipe_text" && value === choices.recipes[fields.recipe.value])) inputs.set(name, value);
  }
  history.replaceState(null, "", `#${inputs}`);
}
function recall() {
  const inputs = new URLSearchParams(location.hash.slice(1));
  for (const name of LINKED) if (inputs.has(name)) fields[name].value = inputs.get(name);
  if (!inputs.has("recipe_text")) fields.recipe_text.value = choices.recipes[fields.recipe.value] ?? "";
  if (fields.config.value) document.getElementById("own").open = true;
}
async function lend(file) {
  lent = file ?? null;
  await send("drop", lent);
  if (lent && fields.config.value.trim()) fields.model.value = PASTED;
  soon();
}
function options(select, names, first) {
  select.replaceChildren(...(first ? [new Option(...first)] : []), ...names.map((name) => new Option(name, name)));
}
function failed(error) {
  const status = document.getElementById("status");
  status.className = "failed";
  status.textContent = `This page needs a browser with WebAssembly and workers, served by a web server. ${error.message}`;
}

async function main() {
  const begin = performance.now();
  choices = JSON.parse(await send("choices"));
  options(fields.model, choices.models);
  fields.model.append(new Option("the pasted config.json", PASTED));
  options(fields.card, choices.cards);
  options(fields.scheme, choices.schemes, ["as stored", ""]);
  options(fields.recipe, Object.keys(choices.recipes));
  fields.model.value = "EXAONE-4.0-1.2B";
  fields.card.value = "L4";
  fields.recipe.value = "w4a16_gptq";
  recall();
  const status = document.getElementById("status");
  await answerOnce();
  status.className = "ready";
  status.textContent = `Ready after ${digits((performance.now() - begin) / 1e3, 2)} s. Everything is computed here.`;
  soon();
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    if (target.name === "file") return lend(target.files[0]);
    if (target.name === "config") fields.model.value = target.value.trim() ? PASTED : choices.models[0];
    soon();
  });
  // Controls of a form that stand outside of it do not bubble through it.
  for (const name of ["recipe", "recipe_text"]) fields[name].addEventListener("input", () => {
    if (name === "recipe") fields.recipe_text.value = choices.recipes[fields.recipe.value];
    soon(async () => { remember(); await showPlan().catch(failed); });
  });
  const zone = document.getElementById("dropzone");
  for (const kind of ["dragover", "dragleave", "drop"]) zone.addEventListener(kind, (event) => {
    event.preventDefault();
    zone.classList.toggle("over", kind === "dragover");
    if (kind === "drop") lend(event.dataTransfer.files[0]);
  });
  addEventListener("hashchange", () => { recall(); soon(); });
}
/** The first answers of each kind also load what they need, so that later ones are quick. */
async function answerOnce() {
  await send("paste", fields.model.value === PASTED ? fields.config.value : "");
  await showFit();
  await showSpeed(round);
  await showPlan();
  await showNote();
}
main().catch(failed);
