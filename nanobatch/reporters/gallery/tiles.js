// The data of the page: one tile for each job, and what the tiles have in common.

const facts = JSON.parse($("facts").textContent);
const tiles = JSON.parse($("tiles").textContent);
const PICTURED = new Set(["ok", "cached"]);

for (const tile of tiles) {
  tile.variant ??= 0;
  tile.columns ??= {};
  tile.params ??= {};
  tile.cost ??= 0;
}

const hasPicture = (tile) => PICTURED.has(tile.status);

// How a tile is called where there is room for one line.
const nameOf = (tile) => (tile.variant ? `${tile.id} (variant ${tile.variant + 1})` : tile.id);

// The line of shell that sends one row again.
const commandOf = (tile) => `${tile.status === "unfinished" ? facts.go_on_row : facts.retry_row} --only ${tile.only}`;

// What a search looks at, in lower case; made when it is first needed.
function wordsOf(tile) {
  tile.words ??= [tile.id, tile.prompt, tile.file, tile.provider, tile.model, tile.code, tile.reason,
    ...Object.values(tile.params), ...Object.values(tile.columns)].join("\n").toLowerCase();
  return tile.words;
}

// What tiles can be sorted by, by name.
const orders = new Map([
  ["input order", (tile) => tile.index * 1000 + tile.variant],
  ["time finished", (tile) => (tile.at ? Date.parse(tile.at) : undefined)],
  ["price", (tile) => tile.cost],
  ["seconds taken", (tile) => tile.seconds],
  ["provider", (tile) => tile.provider],
  ["status", (tile) => tile.status],
]);

// What they can be filtered and sorted by: first what every run has, then the columns of the input.
const fields = new Map([
  ["id", (tile) => tile.id],
  ["prompt", (tile) => tile.prompt],
  ["model", (tile) => tile.model],
  ["size", (tile) => tile.params.size],
  ["aspect ratio", (tile) => tile.params.aspect_ratio],
  ["seed", (tile) => tile.params.seed],
  ["error", (tile) => tile.code],
]);
for (const name of new Set(tiles.flatMap((tile) => Object.keys(tile.columns)))) {
  const called = fields.has(name) || orders.has(name) ? `${name} (column)` : name;
  fields.set(called, (tile) => (Object.hasOwn(tile.columns, name) ? tile.columns[name] : undefined));
}

// The values of a field with how often each comes, the frequent ones first; null when there are too many to choose.
function valuesOf(field, most = Infinity) {
  const found = new Map();
  for (const tile of tiles) {
    const value = field(tile);
    if (value === undefined || value === null || value === "") continue;
    found.set(value, (found.get(value) ?? 0) + 1);
    if (found.size > most) return null;
  }
  return [...found].sort(([a, many], [b, more]) => more - many || (a < b ? -1 : 1));
}
