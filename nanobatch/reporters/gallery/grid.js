// The grid holds the tiles that are in sight and a few rows around them, so that ten thousand scroll like ten.

const TILE_HEIGHT = 300;
const GAP = 14;
const ROWS_AROUND = 3;
const grid = $("grid");

const placed = new Map(); // place among those shown: element
let columns = 1;
let tileWidth = 0;
let current = 0; // the tile that the keyboard is on
let drawnAt = 0; // the place in the page that was drawn last
let settling = 0; // a timer, while the page flies by

function measure() {
  const width = grid.clientWidth;
  const least = width < 560 ? 150 : 220;
  columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
  tileWidth = Math.floor((width - GAP * (columns - 1)) / columns);
}

const rowHeight = TILE_HEIGHT + GAP;
const rowOf = (place) => Math.floor(place / columns);

// Show the chosen tiles from the beginning of the list; `keep` is a tile that the keyboard should stay on.
function layOut(keep = null) {
  for (const element of placed.values()) element.remove();
  placed.clear();
  measure();
  current = Math.max(0, keep === null ? 0 : shown.indexOf(keep));
  grid.style.height = `${Math.max(0, Math.ceil(shown.length / columns) * rowHeight - GAP)}px`;
  draw();
}

// While the page flies by, tiles come without their pictures: decoding what nobody sees would hold up what is seen.
function draw() {
  const isFlying = Math.abs(window.scrollY - drawnAt) > window.innerHeight;
  drawnAt = window.scrollY;
  drawTiles();
  if (isFlying || settling) {
    clearTimeout(settling);
    settling = setTimeout(() => { settling = 0; drawPictures(); }, 80);
  } else requestAnimationFrame(() => setTimeout(drawPictures)); // after the frame that answers a key
}

function drawPictures() {
  for (const image of grid.querySelectorAll("img[data-src]")) {
    image.src = image.dataset.src;
    delete image.dataset.src;
  }
}

function drawTiles() {
  const above = window.scrollY - (grid.getBoundingClientRect().top + window.scrollY);
  const first = Math.max(0, Math.floor(above / rowHeight) - ROWS_AROUND) * columns;
  const last = Math.min(shown.length, (Math.floor((above + window.innerHeight) / rowHeight) + 1 + ROWS_AROUND) * columns);
  for (const [place, element] of placed) {
    if ((place < first || place >= last) && !element.contains(document.activeElement)) {
      element.remove();
      placed.delete(place);
    }
  }
  for (let place = first; place < last; place++) if (!placed.has(place)) put(place);
  markCurrent();
}

function put(place) {
  const element = tileElement(shown[place], place);
  element.style.width = `${tileWidth}px`;
  element.style.height = `${TILE_HEIGHT}px`;
  element.style.transform = `translate(${(place % columns) * (tileWidth + GAP)}px, ${rowOf(place) * rowHeight}px)`;
  // In the order of the list, so that Tab and screen readers go through it as eyes do.
  let following = null;
  for (const [other, sibling] of placed) {
    if (other > place && (following === null || other < following[0])) following = [other, sibling];
  }
  grid.insertBefore(element, following && following[1]);
  placed.set(place, element);
}

function tileElement(tile, place) {
  const picture = hasPicture(tile) ? pictureOf(tile) : reasonOf(tile);
  const open = make("button", { type: "button", className: "open" }, picture);
  open.setAttribute("aria-label", `${nameOf(tile)}, ${tile.status}: ${tile.prompt.slice(0, 200)}${tile.reason ? `. ${tile.reason}` : ""}`);
  open.addEventListener("click", () => view(place));
  open.addEventListener("focus", () => { current = place; markCurrent(); });
  const button = hasPicture(tile) ? copyButton("Copy prompt", tile.prompt, "Copy") : copyButton("Copy command", commandOf(tile), "Command");
  button.tabIndex = -1;
  const figures = [tile.provider, tile.cost ? money(tile.cost) : "", tile.seconds ? seconds(tile.seconds) : ""];
  const line = make("span", { className: "figures", textContent: figures.filter(Boolean).join(" · ") });
  if (tile.at) line.title = day(tile.at);
  const element = make("li", { className: `tile ${PICTURED.has(tile.status) ? "pictured" : tile.status}` }, open,
    make("p", { className: "words", textContent: tile.prompt, title: nameOf(tile) }),
    make("div", { className: "below" }, line, button));
  element.setAttribute("aria-setsize", shown.length);
  element.setAttribute("aria-posinset", place + 1);
  return element;
}

// The small picture where there is one, else the image itself; words where neither can be shown.
function pictureOf(tile) {
  if (!tile.url) return notShown("The record names no file of this folder.");
  if (tile.is_huge) return notShown(`Too large to be drawn here: ${tile.width} × ${tile.height} pixels.`);
  const image = make("img", { alt: "", loading: "lazy", decoding: "async" });
  image.dataset.src = tile.small || tile.url;
  image.addEventListener("error", () => {
    if (tile.small && image.getAttribute("src") === tile.small) image.src = tile.url;
    else image.replaceWith(notShown(`There is no image at ${tile.file}, or it is broken.`));
  });
  return image;
}

const notShown = (text) => make("span", { className: "why", textContent: text });

function reasonOf(tile) {
  const badge = make("span", { className: "badge", textContent: tile.status });
  return make("span", { className: "why" }, badge, ` ${tile.reason ?? "not sent yet"}`);
}

// One tile is in the order of Tab: the one that the arrow keys have come to. Its button comes after it.
function markCurrent() {
  const reachable = placed.has(current) ? current : Math.min(...placed.keys());
  for (const [place, element] of placed) {
    for (const button of element.querySelectorAll("button")) button.tabIndex = place === reachable ? 0 : -1;
  }
}

function focusTile(place) {
  if (shown.length === 0) return;
  current = Math.min(Math.max(place, 0), shown.length - 1);
  const top = grid.getBoundingClientRect().top + rowOf(current) * rowHeight;
  const bar = getComputedStyle($("bar")).position === "sticky" ? $("bar").offsetHeight : 0;
  if (top < bar + GAP) window.scrollBy(0, top - bar - GAP);
  else if (top + TILE_HEIGHT > window.innerHeight - GAP) window.scrollBy(0, top + TILE_HEIGHT + GAP - window.innerHeight);
  draw();
  placed.get(current)?.querySelector(".open").focus({ preventScroll: true });
}

function moveInGrid(event) {
  if (!event.target.classList.contains("open") || event.ctrlKey || event.metaKey || event.altKey) return;
  const page = Math.max(1, Math.floor(window.innerHeight / rowHeight)) * columns;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page };
  if (event.key in steps) {
    const place = current + steps[event.key];
    if (place >= 0 && place < shown.length) focusTile(place);
    else if (event.key.startsWith("Page")) focusTile(place);
  } else if (event.key === "Home") focusTile(0);
  else if (event.key === "End") focusTile(shown.length - 1);
  else return;
  event.preventDefault();
}
