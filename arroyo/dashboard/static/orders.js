// Orders to the chain, each confirmed by a second click: for a stage, its file, and the quarantine.

import { ask, order } from "./asking.js";
import { element, write } from "./elements.js";

const ARMED_MS = 6000;
const SETTLES_MS = 400; // a double click confirms nothing
const LOOK_MS = 300;

/** Return a button that does something at its second click, before which it says `really`. */
export function confirmed(text, really, act) {
  const button = element("button", "order", text);
  button.type = "button";
  let disarming = null;
  const disarm = () => {
    clearTimeout(disarming);
    disarming = null;
    button.classList.remove("armed");
    button.textContent = text;
  };
  const arm = () => {
    disarming = setTimeout(disarm, ARMED_MS);
    button.textContent = typeof really === "function" ? really() : really;
    button.setAttribute("aria-disabled", "true");
    setTimeout(() => {
      button.removeAttribute("aria-disabled");
      if (disarming) button.classList.add("armed");
    }, SETTLES_MS);
  };
  button.addEventListener("click", () => {
    if (button.hasAttribute("aria-disabled")) return;
    if (!disarming) return arm();
    disarm();
    act();
  });
  return button;
}

const pause = () => new Promise((resolve) => setTimeout(resolve, LOOK_MS));

/** The dialog in which orders are given. */
export class Orders {
  constructor(dialog) {
    this.dialog = dialog;
    this.title = dialog.querySelector("h2");
    this.body = dialog.querySelector("div");
    this.said = dialog.querySelector("[role=status]");
    dialog.querySelector("form button").textContent = "Close";
  }

  open(title, ...parts) {
    write(this.title, title);
    write(this.said, "");
    this.body.replaceChildren(...parts);
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** Do something, and say what has come of it. */
  async do(act) {
    write(this.said, "…");
    try {
      write(this.said, await act());
    } catch (error) {
      write(this.said, error.message);
    }
  }

  /** Show what can be done to a stage. */
  openStage({ name, replicas }) {
    const parts = [this.restartOf(name, replicas)];
    if (replicas.length > 1) parts.push(this.scaleOf(name, replicas.length));
    const parameters = element("fieldset", "", element("legend", "", "Parameters"));
    const quarantine = element("fieldset", "", element("legend", "", "Quarantine"));
    parts.push(parameters, quarantine);
    this.open(`Orders for ${name}`, ...parts);
    this.showParameters(parameters, name);
    this.showQuarantine(quarantine, name);
  }

  restartOf(name, replicas) {
    const which = element("select");
    which.setAttribute("aria-label", "which processes");
    const names = replicas.length > 1 ? replicas.map((replica) => replica.name) : [];
    which.replaceChildren(...[name, ...names].map((each) => new Option(each)));
    const restart = confirmed(
      "Restart",
      () => `Really restart ${which.value}?`,
      () => this.do(async () => (await order("restart", { stage: which.value })).said),
    );
    return element("fieldset", "", element("legend", "", "Restart"), which, restart);
  }

  scaleOf(name, most) {
    const number = numberInput(most);
    const scale = confirmed(
      "Scale",
      () => `Really have ${number.value} of ${most} work?`,
      () => this.do(async () => (await order("scale", { stage: name, number: Number(number.value) })).said),
    );
    const label = element("label", "", "processes that work ", number, ` of ${most}`);
    return element("fieldset", "", element("legend", "", "Scale"), label, scale);
  }

  async showParameters(into, name) {
    const of = new URLSearchParams({ of: name });
    let shown;
    try {
      shown = (await ask(`parameters?${of}`)).parameters;
    } catch (error) {
      into.append(element("p", "weak", error.message));
      return;
    }
    const inputs = new Map();
    for (const [key, { value, file }] of Object.entries(shown)) {
      const input = element("input");
      input.name = key;
      input.value = input.defaultValue = JSON.stringify(value);
      inputs.set(key, input);
      into.append(element("label", "", `${key} `, input, ` in the file: ${JSON.stringify(file)}`));
    }
    const changed = () => [...inputs].filter(([, input]) => input.value !== input.defaultValue);
    const words = () => changed().map(([key, input]) => `${key} = ${input.value}`).join(", ");
    const set = async () => {
      const values = Object.fromEntries(changed().map(([key, input]) => [key, input.value]));
      const { number } = await order("set", { stage: name, values });
      await this.settled(of, number);
      for (const [, input] of changed()) input.defaultValue = input.value;
      return `${name}: set`;
    };
    into.append(confirmed("Set", () => `Really set ${words() || "nothing"}?`, () => this.do(set)));
  }

  async showQuarantine(into, name) {
    const { messages } = await ask(`quarantined?${new URLSearchParams({ of: name })}`);
    const count = messages === 1 ? "1 message" : `${messages} messages`;
    const words = messages ? `it failed on ${count}` : "nothing that it failed on";
    into.append(element("p", "weak", words));
    const requeue = () => this.do(async () => (await order("requeue", { stage: name })).said);
    if (messages) into.append(confirmed("Requeue all", `Really send ${count} of ${name} again?`, requeue));
  }

  /** Wait until all processes of a stage have taken their parameters; throw, if one refuses. */
  async settled(of, number) {
    for (;;) {
      const { outcomes, waits_for } = await ask(`parameters?${of}`);
      if (number in outcomes) {
        const [refusal] = outcomes[number];
        if (refusal) throw new Error(refusal);
        return;
      }
      write(this.said, `waiting for ${waits_for.join(", ")}, between two messages`);
      await pause();
    }
  }

  /** Have the chain file checked, show what would be done, and have it done. */
  openReload() {
    const plan = element("ul", "plan");
    this.open("Reload the chain file", plan);
    this.do(async () => {
      const { plan: number } = await order("plan", {});
      const told = await this.reloading(number, "checking");
      plan.replaceChildren(...told.lines.map((line) => element("li", "", line)));
      if (told.may_go_on) {
        plan.after(confirmed("Reload", "Really carry out this plan?", () => this.do(() => this.reload(number))));
      }
      return told.state === "mistaken" ? "the file has mistakes, so nothing is changed" : "";
    });
  }

  async reload(number) {
    await order("reload", { plan: number });
    const told = await this.reloading(number, "reloading", "rolling-back");
    if (told.state === "rolled-back") return `${told.reason}; the old values run again`;
    return told.state;
  }

  /** Wait until a plan has left some states; return what is told of it then. */
  async reloading(number, ...states) {
    for (;;) {
      const told = await ask("reloading");
      if (told.plan !== number) throw new Error("somebody else has the chain file reloaded meanwhile");
      if (!states.includes(told.state)) return told;
      write(this.said, told.state);
      await pause();
    }
  }
}

function numberInput(most) {
  const input = element("input");
  Object.assign(input, { type: "number", min: 1, max: most, value: most });
  return input;
}

/** Return buttons that send a message in quarantine back, or drop it; `done` is called then. */
export function quarantineOrders(id, done) {
  const said = element("p", "");
  said.setAttribute("role", "status");
  const give = async (verb) => {
    try {
      write(said, (await order(verb, { ids: [id] })).said);
      done();
    } catch (error) {
      write(said, error.message);
    }
  };
  const requeue = confirmed("Requeue", `Really send ${id} again?`, () => give("requeue"));
  const drop = confirmed("Drop", `Really delete ${id}?`, () => give("drop"));
  return element("div", "order controls", requeue, drop, said);
}
