// Python lives here, beside the page, so that the page stays quick while it computes. One question at a time.
import { loadPyodide } from "./pyodide/pyodide.mjs";

let python, answers, lent = false;

async function start() {
  const [runtime, archive, source] = await Promise.all([
    loadPyodide({ indexURL: "./pyodide/" }),
    fetch("./python.zip").then((reply) => reply.arrayBuffer()),
    fetch("./answers.py").then((reply) => reply.text()),
  ]);
  python = runtime;
  python.unpackArchive(archive, "zip", { extractDir: python.runPython("import site; site.getsitepackages()[0]") });
  python.FS.writeFile("/home/pyodide/answers.py", source);
  python.FS.mkdirTree("/lent");
  python.runPython("import sys; sys.path.insert(0, '/home/pyodide')");
  answers = python.pyimport("answers");
  answers.prepare("/home/pyodide/asked");
  return answers.choices();
}

function drop(file) {
  if (lent) python.FS.unmount("/lent");
  lent = Boolean(file);
  // The browser hands over the pieces that are read: the header, not the weights.
  if (file) python.FS.mount(python.FS.filesystems.WORKERFS, { files: [file] }, "/lent");
  answers.drop(file ? `/lent/${file.name}` : "");
}

const started = start();

onmessage = async ({ data: { id, what, given } }) => {
  try {
    const choices = await started;
    let reply = null;
    if (what === "choices") reply = choices;
    else if (what === "ask") reply = answers.ask(given);
    else if (what === "paste") reply = answers.paste(given);
    else if (what === "recipe") answers.write_recipe(given);
    else if (what === "drop") drop(given);
    postMessage({ id, reply });
  } catch (error) {
    postMessage({ id, error: error.message ?? JSON.stringify(error) });
  }
};
