// Events, logs and quarantine: lists that follow what is added.

import { ask } from "./asking.js";
import { element, write } from "./elements.js";
import { quarantineOrders } from "./orders.js";

const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };

/** A list that is asked for again and again, and drawn where it has changed. */
class Panel {
  constructor(list, draw, empty) {
    this.list = list;
    this.draw = draw;
    this.empty = empty;
    this.shown = "";
    this.asking = false;
  }

  async ask(path) {
    if (this.asking) return;
    this.asking = true;
    try {
      this.show(await ask(path));
    } catch (error) {
      this.say(error.message);
    } finally {
      this.asking = false;
    }
  }

  show(entries) {
    const state = JSON.stringify(entries);
    if (state === this.shown) return;
    if (!entries.length) return this.say(this.empty);
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    const follows = !this.shown || scrollHeight - scrollTop - clientHeight < 40;
    this.shown = state;
    this.list.replaceChildren(...entries.map(this.draw));
    if (follows && this.list.tagName === "OL") this.list.scrollTop = this.list.scrollHeight;
  }

  say(sentence) {
    this.shown = "";
    const inList = this.list.tagName === "OL" ? "li" : "p";
    if (this.list.textContent !== sentence) {
      this.list.replaceChildren(element(inList, "weak", sentence));
    }
  }
}

export class Panels {
  constructor() {
    const find = (id) => document.getElementById(id);
    this.of = find("logs-of");
    this.level = find("logs-level");
    this.quarantineTitle = find("quarantine-title");
    this.events = new Panel(find("events"), eventLine, "nothing has happened yet");
    this.logs = new Panel(find("logs"), logLine, "there are no such lines");
    const draw = (entry) => quarantined(entry, () => (this.inQuarantine = null));
    this.quarantine = new Panel(find("quarantine"), draw, "the quarantine is empty");
    this.inQuarantine = null;
    for (const choice of [this.of, this.level]) {
      choice.addEventListener("change", () => this.askLogs(true));
    }
  }

  /** Ask for what may be new. */
  refresh(view) {
    this.offer([...view.stages.map((stage) => stage.name), "supervisor"]);
    this.events.ask("events");
    this.askLogs();
    write(this.quarantineTitle, `Quarantine: ${view.in_quarantine}`);
    if (this.inQuarantine !== view.in_quarantine) {
      this.inQuarantine = view.in_quarantine;
      this.quarantine.ask("quarantine");
    }
  }

  offer(names) {
    const offered = [...this.of.options].map((option) => option.value);
    if (names.join() === offered.join()) return;
    const chosen = this.of.value;
    this.of.replaceChildren(...names.map((name) => new Option(name)));
    if (names.includes(chosen)) this.of.value = chosen;
  }

  select(name) {
    this.of.value = name;
    this.askLogs(true);
    this.logs.list.focus();
  }

  askLogs(anew = false) {
    if (anew) this.logs.shown = "";
    this.logs.ask(`logs?${new URLSearchParams({ of: this.of.value, level: this.level.value })}`);
  }
}

function time(text) {
  const when = new Date(text);
  const shown = element("time", "", when.toLocaleTimeString([], TIME));
  shown.dateTime = text;
  shown.title = when.toLocaleString();
  return shown;
}

function markOf(level) {
  if (level === "WARNING") return "warn";
  return level === "ERROR" || level === "CRITICAL" ? "bad" : "";
}

function eventLine(line) {
  const what = element("b", markOf(line.level), line.event);
  return element("li", "", time(line.time), what, element("span", "text", line.text));
}

function logLine(line) {
  const level = element("b", markOf(line.level), line.level);
  const of = element("span", "of", line.of);
  return element("li", "", time(line.time), of, level, element("span", "text", line.text));
}

function quarantined(entry, changed) {
  const id = `message-${entry.id}-${entry.time}`;
  const shown = document.getElementById(id);
  if (shown) return shown; // somebody may be reading it
  const where = element("b", "", entry.of);
  const words = `${entry.key}: ${entry.reason}`;
  const title = element("summary", "", time(entry.time), where, element("span", "text", words));
  const more = element("pre", "", "…");
  const details = element("details", "", title, quarantineOrders(entry.id, changed), more);
  details.id = id;
  details.addEventListener("toggle", () => details.open && showMessage(more, entry.id), { once: true });
  return details;
}

async function showMessage(target, id) {
  try {
    const { stack, content } = await ask(`message?${new URLSearchParams({ id })}`);
    target.textContent = [JSON.stringify(content, null, 2), stack].filter(Boolean).join("\n\n");
  } catch (error) {
    target.textContent = error.message;
  }
}
