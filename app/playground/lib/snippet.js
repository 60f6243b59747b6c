/** The curl line and the Python that do what the page does, to copy. */

import { apiKey } from "./api.js";
import { address, FileContent } from "./call.js";
import { element } from "./dom.js";

const LONG = /[\w+/=]{300,}/g;
/** Such a text, a picture in base64 for instance, is shortened where it is shown, not where it is copied. */
const SHOWN = 40;

/** A details element; `show(calls)` writes one call, or several in their order, into it. */
export function snippet() {
  const code = element("code");
  const copied = element("span", { role: "status", class: "hint" });
  let texts = { curl: "", python: "" };
  let language = "curl";
  const show = () => { code.textContent = shortened(texts[language]); };
  const choices = ["curl", "python"].map((name) => element("button", {
    type: "button", "aria-pressed": String(name === language), dataset: { language: name },
    on: { click: () => choose(name) },
  }, name === "curl" ? "curl" : "Python"));
  const choose = (name) => {
    language = name;
    for (const button of choices) button.setAttribute("aria-pressed", String(button.dataset.language === name));
    show();
  };
  const copy = element("button", { type: "button", on: { click: async () => {
    await copyText(texts[language]);
    copy.focus();
    copied.textContent = "Copied.";
    setTimeout(() => { copied.textContent = ""; }, 2000);
  } } }, "Copy");
  const node = element("details", { class: "snippet", hidden: true },
    element("summary", {}, "The same with curl or Python"),
    element("div", { class: "bar" }, ...choices, copy, copied),
    element("pre", { tabindex: "0" }, code));
  return {
    node,
    show(...calls) {
      texts = { curl: calls.map(curl).join("\n\n"), python: python(calls) };
      node.hidden = false;
      show();
    },
  };
}

const url = (call) => new URL(address(call), document.baseURI).href;
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const fileName = (blob) => blob.name ?? "file";

/** One call as a command line. */
export function curl(call) {
  const parts = [`curl${call.method === "GET" ? "" : ` -X ${call.method}`} ${quoted(url(call))}`];
  if (apiKey.get()) parts.push('-H "X-API-Key: $API_KEY"');
  for (const [name, value] of Object.entries(call.headers ?? {})) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (call.json !== undefined) parts.push("-H 'Content-Type: application/json'", jsonData(call.json));
  for (const [name, value] of call.form ?? []) {
    parts.push(value instanceof Blob ? `-F ${quoted(`${name}=@${fileName(value)}`)}` : `--form-string ${quoted(`${name}=${value}`)}`);
  }
  return parts.join(" \\\n  ");
}

/** A command line takes only so many letters: what comes from files goes through the standard input. */
function jsonData(json) {
  const files = [];
  const text = JSON.stringify(json, function replace(key, value) {
    const original = this[key];
    return original instanceof FileContent ? `\u0000${files.push(original.name) - 1}\u0000` : value;
  });
  if (!files.length) return `-d ${quoted(text)}`;
  const escaped = text.replaceAll(/[\\$`]/g, "\\$&");
  const filled = escaped.replaceAll(/\\\\u0000(\d+)\\\\u0000/g, (_, at) => `$(base64 -w0 ${quoted(files[at])})`);
  return `-d @- <<JSON\n${filled}\nJSON`;
}

/** Calls as a program that needs httpx. */
export function python(calls) {
  const headers = apiKey.get() ? ', headers={"X-API-Key": os.environ["API_KEY"]}' : "";
  const body = calls.map((call) => `response = client.${call.method.toLowerCase()}(${["", ...pythonArguments(call)].join("\n    ")}\n)\nresponse.raise_for_status()\nprint(response.text)`);
  const standard = [headers && "import os", body.some((text) => text.includes("base64.")) && "import base64"].filter(Boolean);
  const imports = [...standard.sort(), ...(standard.length ? [""] : []), "import httpx", ""].join("\n");
  return `${imports}\nclient = httpx.Client(timeout=120${headers})\n${body.join("\n")}\n`;
}

function pythonArguments(call) {
  const list = [`${JSON.stringify(url(call))},`];
  if (call.headers) list.push(`headers=${literal(call.headers)},`);
  if (call.json !== undefined) list.push(`json=${literal(call.json)},`);
  const texts = (call.form ?? []).filter(([, value]) => !(value instanceof Blob));
  const files = (call.form ?? []).filter(([, value]) => value instanceof Blob);
  if (texts.length) list.push(`data=${literal(Object.fromEntries(texts))},`);
  if (files.length) {
    const items = files.map(([name, value]) => `(${literal(name)}, open(${literal(fileName(value))}, "rb"))`);
    list.push(`files=[${items.join(", ")}],`);
  }
  return list;
}

/** A JSON value as Python writes it. */
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (value instanceof FileContent) return `base64.b64encode(open(${literal(value.name)}, "rb").read()).decode()`;
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${literal(item)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

const shortened = (text) => text.replace(LONG, (long) => `${long.slice(0, SHOWN)}... (${long.length - SHOWN} more)`);

/** Over plain HTTP from another machine browsers offer no clipboard: there it goes by a selection, as it used to. */
async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = element("textarea", {}, text);
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
