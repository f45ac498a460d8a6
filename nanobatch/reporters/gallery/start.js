// What the page says of the run, and who listens to what. Runs last.

function showSummary() {
  const counts = Object.entries(facts.statuses).map(([status, number]) => `${count(number)} ${status}`);
  const waiting = facts.jobs - Object.values(facts.statuses).reduce((sum, number) => sum + number, 0);
  if (waiting > 0) counts.push(`${count(waiting)} not come to yet`);
  const cost = tiles.reduce((sum, tile) => sum + tile.cost, 0);
  const spent = cost ? ` · ${money(cost)}${facts.left_out ? " for those shown" : ""}${facts.sandbox ? " pretended (sandbox)" : ""}` : "";
  $("summary").textContent = `${counts.join(", ") || "no images yet"}${spent} · ${day(facts.made_at)}`;
}

function showNotes() {
  const note = (warn, ...parts) => $("notes").append(make("div", { className: warn ? "note warn" : "note" }, ...parts));
  if (facts.running) note(true, "A run was at work when this page was made. Make it again with nanobatch gallery to see what has come since.");
  if (facts.left_out) note(true, `${count(facts.left_out)} more jobs are in manifest.jsonl: a page holds 20,000 images and 5,000 jobs without one.`);
  const unfinished = facts.jobs - ["ok", "cached", "refused", "failed"].reduce((sum, name) => sum + (facts.statuses[name] ?? 0), 0);
  const given = (facts.statuses.refused ?? 0) + (facts.statuses.failed ?? 0);
  const offer = (sentence, command) => note(false, sentence, make("code", { textContent: command }), copyButton("Copy command", command));
  if (unfinished > 0 && !facts.running) offer(`${count(unfinished)} without an image yet. This goes on with them:`, facts.go_on);
  if (given > 0) offer(`${count(given)} refused or failed. This sends them again:`, facts.retry);
}

// The system's theme until the button is used; then the button's, also on the next visit where the browser remembers.
function remembered() {
  try { return localStorage.getItem("nanobatch-theme"); } catch { return null; }
}

function showTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  const isDark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  $("theme").textContent = isDark ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", isDark ? "Switch to light colours" : "Switch to dark colours");
}

function switchTheme() {
  const theme = $("theme").textContent.toLowerCase();
  showTheme(theme);
  try { localStorage.setItem("nanobatch-theme", theme); } catch { /* a page on a disk may have no memory */ }
}

function chosen() {
  const keep = shown[current] ?? null;
  choose();
  layOut(keep);
}

function listen() {
  for (const id of ["words", "value"]) $(id).addEventListener("input", chosen);
  for (const id of ["status", "provider"]) $(id).addEventListener("change", chosen);
  $("column").addEventListener("change", () => { proposeValues(); chosen(); });
  $("sort").addEventListener("change", () => { sort(); chosen(); });
  $("direction").addEventListener("click", () => {
    const isDown = $("direction").getAttribute("aria-pressed") === "true";
    $("direction").setAttribute("aria-pressed", String(!isDown));
    sort();
    chosen();
  });
  for (const id of ["clear", "clear-too"]) $(id).addEventListener("click", () => { clearChoice(); chosen(); $("words").focus(); });
  $("theme").addEventListener("click", switchTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showTheme(document.documentElement.dataset.theme));

  let waiting = false;
  const soon = (act) => () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; act(); });
  };
  addEventListener("scroll", soon(draw), { passive: true });
  new ResizeObserver(() => { if (grid.clientWidth !== drawnWidth) { drawnWidth = grid.clientWidth; layOut(shown[current]); } else draw(); }).observe(document.body);

  grid.addEventListener("keydown", moveInGrid);
  $("skip").addEventListener("click", (event) => { event.preventDefault(); focusTile(current); });
  viewer.addEventListener("keydown", moveInViewer);
  viewer.addEventListener("close", () => { stage.replaceChildren(); focusTile(viewed); });
  $("previous").addEventListener("click", () => view(viewed - 1));
  $("next").addEventListener("click", () => view(viewed + 1));
  $("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); }); // beside the dialog
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || viewer.open || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    event.preventDefault();
    $("words").focus();
  });
}

let drawnWidth = 0;
showTheme(remembered());
showSummary();
showNotes();
fillChoices();
sort();
choose();
layOut();
drawnWidth = grid.clientWidth;
listen();
setTimeout(() => tiles.forEach(wordsOf), 200); // so that the first search is as fast as the next
