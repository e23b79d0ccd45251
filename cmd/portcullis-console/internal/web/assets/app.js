// The live stream of decisions. All else of the console works without this file. Nothing that comes from the cluster is ever parsed as HTML: it is put into
// text nodes only.
"use strict";
(() => {
  const bar = document.querySelector("[data-stream]");
  const body = document.getElementById("decisions");
  if (!bar || !body || !window.EventSource) return;
  const most = 200;
  const state = document.getElementById("live-state");
  const toggle = document.getElementById("live-toggle");
  const dot = bar.querySelector(".dot");
  const verdict = bar.dataset.verdict, text = bar.dataset.text.toLowerCase();
  const tones = { admitted: "good", denied: "bad", fault: "bad", shed: "bad", rejected: "bad", deny: "bad", warn: "warn", undecided: "bad" };
  let stream = null, paused = false;
  const seen = new Set();

  const element = (name, className, content) => {
    const e = document.createElement(name);
    if (className) e.className = className;
    if (content !== undefined) e.textContent = content;
    return e;
  };
  const say = (message, on) => { state.textContent = message; dot.className = "dot " + (on ? "on" : "off"); };

  const row = (d) => {
    const tr = element("tr", "fresh");
    const when = element("td"), time = element("time", "", new Date(d.time).toLocaleTimeString());
    time.dateTime = d.time; time.title = d.time; when.append(time);
    const v = element("td"); v.append(element("span", "tag " + (tones[d.verdict] || "note"), d.verdict));
    if (d.dryRun) v.append(" ", element("span", "dim", "dry run"));
    const what = element("td", "object");
    what.append(element("span", "op", d.operation || ""), " " + (d.kind || "") + " ", element("strong", "", (d.namespace ? d.namespace + "/" : "") + (d.name || "")));
    const why = element("td", "wrap");
    for (const r of d.reasons || []) {
      const line = element("div");
      line.append(element("span", "tag " + (tones[r.effect] || "note"), r.effect), " ", element("code", "", r.policy || ""), " " + r.message);
      why.append(line);
    }
    if (d.more) why.append(element("div", "dim", "and " + d.more + " more"));
    const ms = element("td", "num", (d.microseconds / 1000).toFixed(1)); ms.title = d.bundle || "";
    tr.append(when, v, what, element("td", "wrap", d.user || ""), why, ms);
    return tr;
  };

  // A stream begins with some of the last decisions, so that none is lost between the page and it: what is older than the page's newest is on a later page.
  const newest = body.querySelector("time");
  const since = newest && newest.dateTime ? Date.parse(newest.dateTime) - 2000 : 0;

  const wanted = (d) => Date.parse(d.time) >= since && (!verdict || d.verdict === verdict) && (!text || JSON.stringify(d).toLowerCase().includes(text));

  const show = (event) => {
    let d;
    try { d = JSON.parse(event.data); } catch { return; }
    if (d.notice) { say(d.notice, true); return; }
    if (seen.has(d.id) || !wanted(d)) return;
    seen.add(d.id);
    const none = body.querySelector(".none");
    if (none) none.remove();
    body.prepend(row(d));
    while (body.rows.length > most) body.rows[body.rows.length - 1].remove();
    if (seen.size > 5 * most) seen.clear();
  };

  const start = () => {
    stream = new EventSource(bar.dataset.stream);
    stream.onopen = () => say("Live: new decisions appear at the top.", true);
    stream.onmessage = show;
    stream.onerror = () => say(stream.readyState === EventSource.CLOSED ? "The stream has ended: reload the page." : "Connecting again…", false);
  };
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    paused = !paused;
    toggle.textContent = paused ? "Go on" : "Pause";
    if (paused) { stream.close(); say("Paused.", false); } else start();
  });
  for (const cell of body.querySelectorAll("tr[data-id]")) seen.add(cell.dataset.id);
  window.addEventListener("pagehide", () => stream && stream.close());
  start();
})();
