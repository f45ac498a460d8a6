// One image at full size, with all that is known of it. The dialog keeps the keyboard inside and ends with Escape.

const viewer = $("viewer");
const stage = $("stage");
let viewed = 0; // the place of the tile that is shown large

function view(place) {
  viewed = Math.min(Math.max(place, 0), shown.length - 1);
  const tile = shown[viewed];
  stage.classList.remove("whole");
  stage.replaceChildren(hasPicture(tile) ? largePicture(tile) : reasonOf(tile));
  $("viewer-title").textContent = nameOf(tile);
  $("viewer-prompt").textContent = tile.is_cut ? `${tile.prompt}\n(the whole prompt is in manifest.jsonl)` : tile.prompt;
  $("position").textContent = `${count(viewed + 1)} of ${count(shown.length)}`;
  $("previous").disabled = viewed === 0;
  $("next").disabled = viewed === shown.length - 1;
  $("viewer-actions").replaceChildren(...actionsFor(tile));
  $("viewer-facts").replaceChildren(...factsOf(tile).flatMap(([name, value]) =>
    [make("dt", { textContent: name }), make("dd", { textContent: value })]));
  viewer.className = `viewer ${tile.status}`;
  if (!viewer.open) {
    viewer.showModal();
    $("close").focus();
  } else if (document.activeElement === document.body || document.activeElement?.disabled) $("close").focus();
  for (const near of [shown[viewed + 1], shown[viewed - 1]]) fetchAhead(near);
}

function largePicture(tile) {
  if (!tile.url || tile.is_huge) return pictureOf(tile);
  const image = make("img", { alt: tile.prompt.slice(0, 300), src: tile.url, decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(notShown(`There is no image at ${tile.file}, or it is broken.`)));
  image.addEventListener("click", () => stage.classList.toggle("whole"));
  return image;
}

function fetchAhead(tile) {
  if (tile && tile.url && !tile.is_huge && hasPicture(tile)) make("img", { src: tile.url });
}

function actionsFor(tile) {
  const found = [copyButton("Copy prompt", tile.prompt)];
  if (tile.url) {
    found.push(make("a", { href: tile.url, target: "_blank", rel: "noopener noreferrer", textContent: "Open the file" }));
  }
  if (!hasPicture(tile)) {
    const command = commandOf(tile);
    found.push(copyButton("Copy command", command), make("code", { className: "command", textContent: command }));
  }
  return found;
}

function factsOf(tile) {
  const size = tile.width ? `${tile.width} × ${tile.height}${tile.bytes ? `, ${count(Math.round(tile.bytes / 1000))} kB` : ""}` : "";
  const cost = tile.cost ? money(tile.cost) + (facts.sandbox ? " (pretended: sandbox)" : "") : "";
  return [
    ["status", tile.status], ["reason", tile.reason], ["error", tile.code], ["provider", tile.provider],
    ["model", tile.model], ["price", cost], ["maybe billed", tile.maybe ? money(tile.maybe) : ""],
    ["time", tile.seconds ? seconds(tile.seconds) : ""], ["finished", day(tile.at)], ["image", size],
    ["asked for", [tile.params.size, tile.params.aspect_ratio].filter(Boolean).join(", ")], ["seed", tile.params.seed],
    ["attempts", tile.attempts], ["file", tile.file], ["warnings", (tile.warnings ?? []).join("\n")],
    ...Object.entries(tile.columns),
  ].filter(([, value]) => value);
}

function moveInViewer(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = { ArrowLeft: viewed - 1, ArrowRight: viewed + 1, Home: 0, End: shown.length - 1 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const place = steps[event.key];
  if (place >= 0 && place < shown.length) view(place);
}
