"use strict";

// Renders /openapi.json. Text only ever enters the page through textContent.

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

function resolve(doc, schema) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.split("/").slice(1).reduce((at, key) => at[key], doc);
}

function typeName(doc, schema) {
  const s = resolve(doc, schema);
  const types = [].concat(s.type || "any");
  if (types.includes("array")) return "list of " + typeName(doc, s.items);
  return types.join(" or ") + (s.format ? " (" + s.format + ")" : "");
}

function rules(doc, schema) {
  const s = resolve(doc, schema);
  const out = [];
  if (s.enum) out.push("one of " + s.enum.join(", "));
  if (s.default !== undefined) out.push("default " + s.default);
  if (s.minLength !== undefined && s.minLength === s.maxLength) out.push("exactly " + s.minLength + " characters");
  else if (s.maxLength !== undefined) out.push((s.minLength || 0) + " to " + s.maxLength + " characters");
  if (s.minimum !== undefined) out.push("at least " + s.minimum);
  if (s.maximum !== undefined) out.push("at most " + s.maximum);
  if (s.description) out.push(s.description);
  return out.join("; ");
}

// fields lists the properties of an object schema, nested ones with their path.
function fields(doc, schema, prefix, depth) {
  const s = resolve(doc, schema);
  const rows = [];
  for (const [name, property] of Object.entries(s.properties || {})) {
    const required = (s.required || []).includes(name);
    rows.push({ name: prefix + name, type: typeName(doc, property), required, rules: rules(doc, property) });
    const inner = resolve(doc, property);
    const items = resolve(doc, inner.items);
    if (depth < 3 && inner.properties) rows.push(...fields(doc, inner, prefix + name + ".", depth + 1));
    if (depth < 3 && items.properties) rows.push(...fields(doc, items, prefix + name + "[].", depth + 1));
  }
  return rows;
}

function table(title, rows, showRequired) {
  if (rows.length === 0) return null;
  const head = element("tr", {}, element("th", {}, "name"), element("th", {}, "type"), element("th", {}, "rules"));
  const body = rows.map((r) =>
    element("tr", {},
      element("td", {}, element("code", {}, r.name)),
      element("td", {}, r.type),
      element("td", {}, (showRequired && r.required ? ["required"] : []).concat(r.rules || []).join("; "))));
  return element("section", {}, element("h3", {}, title),
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}

function jsonSchema(content) {
  return content && content["application/json"] ? content["application/json"].schema : null;
}

function operation(doc, path, method, op) {
  const parameters = (op.parameters || []).map((p) => ({
    name: p.name, type: p.in + " " + typeName(doc, p.schema), required: p.required, rules: rules(doc, p.schema),
  }));
  const inside = element("div", {},
    table("Parameters", parameters, true),
    op.requestBody ? table("Request body", fields(doc, jsonSchema(op.requestBody.content), "", 0), true) : null);
  for (const [status, response] of Object.entries(op.responses || {})) {
    if (status === "default") continue;
    const rows = fields(doc, jsonSchema(response.content), "", 0);
    inside.append(table("Answer " + status, rows, false) || element("p", {}, "Answers " + status + " with no body."));
  }
  const box = element("details", { id: op.operationId },
    element("summary", {},
      element("span", { class: "method" }, method.toUpperCase()),
      element("span", { class: "path" }, path),
      element("span", { class: "about" }, op.summary || "")),
    inside);
  box.dataset.search = [method, path, op.operationId, op.summary].join(" ").toLowerCase();
  return box;
}

function render(doc) {
  document.getElementById("title").textContent = doc.info.title + " " + doc.info.version;
  document.getElementById("description").textContent = doc.info.description || "";
  const groups = new Map();
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const method of METHODS) {
      const op = item[method];
      if (!op) continue;
      const group = (op.tags || ["other"])[0];
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(operation(doc, path, method, op));
    }
  }
  const main = document.getElementById("operations");
  for (const [name, boxes] of groups) main.append(element("section", { class: "group" }, element("h2", {}, name), ...boxes));
}

function filterOperations(words) {
  for (const group of document.querySelectorAll(".group")) {
    let shown = 0;
    for (const box of group.querySelectorAll("details")) {
      box.hidden = !words.every((w) => box.dataset.search.includes(w));
      if (!box.hidden) shown++;
    }
    group.hidden = shown === 0;
  }
}

document.getElementById("filter").addEventListener("input", (event) => {
  filterOperations(event.target.value.toLowerCase().split(/\s+/).filter(Boolean));
});

fetch("/openapi.json")
  .then((response) => {
    if (!response.ok) throw new Error("status " + response.status);
    return response.json();
  })
  .then(render)
  .catch((error) => {
    document.getElementById("description").textContent = "The OpenAPI document could not be loaded: " + error.message;
  });
