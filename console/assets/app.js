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
