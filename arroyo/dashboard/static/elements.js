// Makes and fills elements. Whatever comes from the chain is set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Return a new element with classes and children; a child that is no element becomes text. */
export function element(tag, classes = "", ...children) {
  const made = document.createElement(tag);
  made.className = classes;
  made.append(...children);
  return made;
}

/** Return a new element of a drawing. */
export function drawn(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

/** Set the text of an element, unless it is that already: a screen reader would say it again. */
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Fill a list of terms with figures. */
export function showFigures(list, figures) {
  list.replaceChildren(
    ...figures.map(([name, value, mark]) =>
      element("div", mark, element("dt", "", name), element("dd", "", value)),
    ),
  );
}
