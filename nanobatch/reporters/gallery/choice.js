// Which tiles are shown, in which order: the search, the filters, the sorting.

const MOST_VALUES = 200; // that are proposed for a column
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

let sorted = tiles; // all tiles in the chosen order
let shown = []; // those of them that match

function fillChoices() {
  fillWithCounts($("status"), "all", valuesOf((tile) => tile.status));
  fillWithCounts($("provider"), "all", valuesOf((tile) => tile.provider));
  const used = [...fields].filter(([, field]) => tiles.some((tile) => field(tile)));
  $("column").append(make("option", { value: "", textContent: "any" }));
  $("column").append(...used.map(([name]) => make("option", { value: name, textContent: name })));
  for (const [name, field] of used) if (!orders.has(name)) orders.set(name, field);
  $("sort").append(...[...orders.keys()].map((name) => make("option", { value: name, textContent: name })));
}

function fillWithCounts(select, all, values) {
  select.append(make("option", { value: "", textContent: all }));
  select.append(...values.map(([value, times]) => make("option", { value, textContent: `${value} (${count(times)})` })));
}

function proposeValues() {
  const field = fields.get($("column").value);
  $("value").disabled = !field;
  if (!field) $("value").value = "";
  const values = (field && valuesOf(field, MOST_VALUES)) ?? [];
  $("values").replaceChildren(...values.map(([value]) => make("option", { value })));
}

function sort() {
  const key = orders.get($("sort").value);
  const down = $("direction").getAttribute("aria-pressed") === "true" ? -1 : 1;
  const keyed = tiles.map((tile) => [key(tile), tile]);
  const isMissing = (value) => value === undefined || value === null || value === "";
  const areNumbers = keyed.every(([value]) => isMissing(value) || !Number.isNaN(Number(value)));
  keyed.sort(([a], [b]) => {
    if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b); // at the end, whichever way
    return down * (areNumbers ? a - b : collator.compare(a, b));
  });
  sorted = keyed.map(([, tile]) => tile);
}

function choose() {
  const words = $("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [status, provider, value] = [$("status").value, $("provider").value, $("value").value.trim().toLowerCase()];
  const field = fields.get($("column").value);
  shown = sorted.filter((tile) =>
    (!status || tile.status === status) &&
    (!provider || tile.provider === provider) &&
    (!field || !value || String(field(tile) ?? "").toLowerCase().includes(value)) &&
    words.every((word) => wordsOf(tile).includes(word)));
  $("count").textContent = shown.length === tiles.length ? `${count(tiles.length)} shown` : `${count(shown.length)} of ${count(tiles.length)} shown`;
  $("nothing").hidden = shown.length > 0 || tiles.length === 0;
}

function clearChoice() {
  for (const id of ["words", "status", "provider", "column", "value"]) $(id).value = "";
  proposeValues();
}
