/** Elements of the document. Text is only ever set as text, so that no name of the user's is read as markup. */

const SVG = "http://www.w3.org/2000/svg";

function completed(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/**
 * An HTML element; attributes that are functions listen to the event of that name.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string | null)} children
 */
export function make(tag, attributes = {}, ...children) {
  return completed(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function makeSvg(tag, attributes = {}, ...children) {
  return completed(document.createElementNS(SVG, tag), attributes, children);
}

/** What stands in the field or choice that an event is about. @param {Event} event */
export function enteredIn(event) {
  return /** @type {HTMLInputElement} */ (event.target).value;
}

/** The field or choice with that id. */
export function fieldOf(id) {
  return /** @type {HTMLInputElement} */ (byId(id));
}

/** The element with that id. */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}
