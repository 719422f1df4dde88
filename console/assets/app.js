// The pages work without this file. It refreshes relative times, copies command lines,
// pauses the refresh, and listens to a few keys.
(() => {
  "use strict";
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  // Times say how long ago they were; the exact one is in their title.
  const ago = (then) => {
    const seconds = Math.round((Date.now() - then) / 1000);
    const s = Math.abs(seconds);
    if (s < 2) return "just now";
    const text = s < 60 ? s + " s" : s < 3600 ? Math.floor(s / 60) + " min" : s < 172800 ? Math.floor(s / 3600) + " h" : Math.floor(s / 86400) + " days";
    return seconds < 0 ? "in " + text : text + " ago";
  };
  const times = () => all("time[datetime]").forEach((t) => {
    const then = Date.parse(t.dateTime);
    const text = ago(then);
    if (!Number.isNaN(then) && t.textContent !== text) t.textContent = text;
  });
  setInterval(times, 1000);

  // Copying.
  const prepare = (root) => {
    all("[data-copy]", root).forEach((b) => { b.hidden = !navigator.clipboard; });
    all("[data-save]", root).forEach((b) => { b.hidden = false; });
  };
  document.addEventListener("click", (e) => {
    const b = e.target.closest("[data-copy]");
    if (!b) return;
    navigator.clipboard.writeText(b.dataset.copy).then(() => {
      const was = b.textContent;
      b.textContent = "Copied";
      setTimeout(() => { b.textContent = was; }, 1500);
    }, () => {});
  });

  // Saving a secret as a file: it never goes back to the server.
  document.addEventListener("click", (e) => {
    const b = e.target.closest("[data-save]");
    if (!b) return;
    const a = document.createElement("a");
    a.href = URL.createObjectURL(new Blob([b.dataset.text], { type: "text/plain" }));
    a.download = b.dataset.save;
    a.click();
    URL.revokeObjectURL(a.href);
  });

  // What cannot be undone is asked twice.
  document.addEventListener("submit", (e) => {
    const text = e.target.dataset.confirm;
    if (text && !confirm(text)) e.preventDefault();
  });

  // Refreshing can be paused, and says how old what is shown is.
  let paused = false;
  const live = document.querySelector(".live");
  const pause = document.querySelector("[data-pause]");
  const mark = () => {
    if (!live) return;
    live.classList.toggle("stale", paused);
    if (pause) {
      pause.textContent = paused ? "Resume" : "Pause";
      pause.setAttribute("aria-pressed", String(paused));
    }
  };
  const toggle = () => { paused = !paused; mark(); };
  if (pause) {
    pause.hidden = !document.querySelector("[hx-trigger^=every]");
    pause.addEventListener("click", toggle);
  }
  document.addEventListener("htmx:before:request", (e) => {
    if (paused || document.hidden) e.preventDefault();
  });
  document.addEventListener("htmx:after:swap", () => {
    const t = live && live.querySelector("time");
    if (t) {
      const now = new Date();
      t.dateTime = now.toISOString();
      t.title = now.toISOString();
    }
    prepare(document);
    times();
  });

  // Charts. Their colors are those of the style sheet.
  const charts = document.querySelector("[data-source]");
  const names = { in_flight: "in flight", oldest_age_seconds: "oldest", empty_receives: "empty receives" };
  const long = (s) => s === null ? "–" : s < 120 ? Math.round(s) + " s" : s < 7200 ? Math.round(s / 60) + " min" : s < 172800 ? Math.round(s / 3600) + " h" : Math.round(s / 86400) + " d";
  const short = (v) => v === null ? "–" : v >= 1e6 ? (v / 1e6).toFixed(1) + " M" : v >= 1e4 ? Math.round(v / 1e3) + " k" : String(Math.round(v * 10) / 10);
  const draw = (h) => all("[data-plot]", charts).forEach((box) => {
    const css = getComputedStyle(document.documentElement);
    const color = (name) => css.getPropertyValue(name).trim();
    const text = box.dataset.unit === "s" ? long : short;
    const rate = box.dataset.rate ? h.step_seconds / 60 : 1;
    const measures = box.dataset.plot.split(",");
    const data = [h.times].concat(measures.map((m) => h[m].map((v) => v === null ? null : v / rate)));
    const axis = { stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const size = () => ({ width: box.clientWidth, height: Math.max(120, box.clientHeight - 30) });
    box.replaceChildren();
    const plot = new uPlot(Object.assign({
      cursor: { points: { size: 6 }, drag: { x: false, y: false } },
      scales: { y: { range: (u, min, max) => [0, Math.max(max || 0, 1) * 1.1] } },
      axes: [axis, Object.assign({ size: 52, values: (u, ticks) => ticks.map(text) }, axis)],
      series: [{ value: (u, v) => v === null ? "" : new Date(v * 1000).toLocaleString() }].concat(measures.map((m, i) => ({
        label: names[m] || m, stroke: color("--series-" + (i + 1)), width: 1.5, points: { show: false }, value: (u, v) => text(v),
      }))),
    }, size()), data, box);
    new ResizeObserver(() => plot.setSize(size())).observe(box);
  });
  if (charts && window.uPlot) {
    charts.querySelector(".grid").hidden = false;
    const load = () => fetch(charts.dataset.source).then((r) => r.ok ? r.json() : Promise.reject(r.status)).then(draw, () => {});
    load();
    setInterval(() => { if (!paused && !document.hidden) load(); }, 60000);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", load);
  }

  // Following a queue: messages are only ever put in as text.
  const follow = document.querySelector("[data-tail]");
  if (follow) {
    const state = follow.querySelector("[data-tail-state]");
    const rows = follow.querySelector("[data-tail-rows]");
    const button = follow.querySelector("[data-tail-pause]");
    let source = null;
    let seen = 0;
    const cell = (row, text, name) => {
      const td = row.insertCell();
      const at = name === "body" ? td.appendChild(document.createElement("code")) : td;
      at.textContent = text;
      if (name) td.className = name;
    };
    const stop = (text) => { if (source) source.close(); source = null; state.textContent = text; button.textContent = "Go on"; };
    const start = () => {
      const q = new URLSearchParams({ text: follow.dataset.text, attribute: follow.dataset.attribute });
      source = new EventSource(follow.dataset.tail + "?" + q);
      state.textContent = "Connecting…";
      button.textContent = "Pause";
      source.addEventListener("begin", () => { state.textContent = "Following, " + seen + " so far."; });
      source.addEventListener("message", (e) => {
        const m = JSON.parse(e.data);
        const row = rows.insertRow(0);
        cell(row, new Date(m.sent_at || Date.now()).toLocaleTimeString());
        cell(row, m.body.slice(0, 500), "body");
        cell(row, Object.keys(m.attributes || {}).join(", "));
        cell(row, m.group_id || "");
        while (rows.rows.length > 200) rows.deleteRow(-1);
        state.textContent = "Following, " + (++seen) + " so far.";
      });
      source.addEventListener("missed", (e) => { state.textContent = JSON.parse(e.data).count + " were left out, because they came too fast."; });
      source.addEventListener("end", (e) => stop(JSON.parse(e.data).message || "It ended."));
      source.addEventListener("error", () => { if (source && source.readyState === EventSource.CLOSED) stop("It ended: open the page again."); else state.textContent = "Connecting again…"; });
    };
    button.hidden = false;
    button.addEventListener("click", () => { if (source) stop("Paused, " + seen + " so far."); else start(); });
    start();
  }

  // One more line of attributes when the last one is used.
  all("[data-rows]").forEach((box) => box.addEventListener("input", () => {
    const rows = all(".row", box);
    const last = rows[rows.length - 1];
    if (rows.length >= Number(box.dataset.rows) || !all("input", last).some((i) => i.value && i.name !== "at")) return;
    const next = last.cloneNode(true);
    all("input", next).forEach((i) => { i.value = i.name === "at" ? "String" : ""; });
    box.append(next);
  }));

  // Keys.
  const keys = document.querySelector("[data-keys]");
  if (keys) keys.textContent = "/ search · g q queues · g o overview · r refresh · p pause";
  let before = "";
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select, [contenteditable]")) return;
    const to = (text) => { const a = all(".side a").find((x) => x.textContent.trim() === text); if (a) a.click(); };
    if (before === "g") {
      before = "";
      ({ q: () => to("Queues"), o: () => to("Overview"), t: () => to("Topics"), n: () => to("Namespaces") }[e.key] || (() => {}))();
      return;
    }
    switch (e.key) {
      case "g": before = "g"; setTimeout(() => { before = ""; }, 1500); break;
      case "/": { const s = document.querySelector("[data-search]"); if (s) { e.preventDefault(); s.focus(); s.select(); } break; }
      case "r": location.reload(); break;
      case "p": if (pause && !pause.hidden) toggle(); break;
    }
  });

  prepare(document);
  times();
})();
