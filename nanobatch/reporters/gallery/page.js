// The parts of the page by name, and what all scripts need: making elements, copying, telling.

const $ = (id) => document.getElementById(id);

// Everything that comes from data goes through here as text; nothing is ever read as HTML.
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const money = (usd) => (usd > 0 && usd < 0.0005 ? "<$0.001" : `$${usd.toFixed(usd > 0 && usd < 1 ? 3 : 2)}`);
const count = (number) => number.toLocaleString("en");
const seconds = (number) => (number < 10 ? `${number.toFixed(1)} s` : `${Math.round(number)} s`);
const day = (moment) => (moment ? new Date(moment).toLocaleString() : "");

let quiet = 0;
function say(text) {
  $("said").textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => ($("said").textContent = ""), 4000);
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    if (!copyOldWay(text, button)) return say("This browser lets nothing be copied.");
  }
  say("Copied.");
  button.dataset.label ??= button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = button.dataset.label), 1500);
}

// For browsers that give pages on a disk no clipboard; inside of the open dialog, because all else is inert then.
function copyOldWay(text, button) {
  const area = make("textarea", { value: text, className: "unseen" });
  button.parentElement.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  button.focus();
  return copied;
}

function copyButton(label, text, short = label) {
  const button = make("button", { type: "button", textContent: short, title: label });
  if (short !== label) button.setAttribute("aria-label", label);
  button.addEventListener("click", () => copy(text, button));
  return button;
}
