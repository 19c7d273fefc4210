// Elements of the page. Texts are always set as text, never as HTML.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const byId = (id) => document.getElementById(id);
const fill = (node, ...children) => node.replaceChildren(...children.filter((c) => c !== null && c !== undefined));
const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A labelled choice; options are [value, text].
function chooser(id, label, options, value, choose) {
  const select = element("select", { id, onchange: () => choose(select.value) },
    ...options.map(([key, text]) => element("option", { value: key }, text)));
  select.value = value;
  return element("label", { class: "choice" }, `${label} `, select);
}

function button(text, act, attributes = {}) {
  return element("button", { type: "button", onclick: act, ...attributes }, text);
}

// Told to screen readers.
function announce(text) {
  byId("announced").textContent = text;
}
