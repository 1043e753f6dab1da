// Asks `arroyo dashboard`, with the token that stands behind # in the address that it has printed.

const KEY = "arroyo-token";

/** Take the token out of the address, where a picture of the screen would show it. */
function keepToken() {
  const given = location.hash.slice(1);
  if (!given) return;
  sessionStorage.setItem(KEY, given); // of this tab, and of this host and port alone
  history.replaceState(null, "", location.pathname);
}

keepToken();
addEventListener("hashchange", () => {
  keepToken();
  location.reload();
});

/** Return the answer to a request; throw an Error with its sentence, and its status, if refused. */
export async function request(path, options = {}) {
  const headers = { ...options.headers, Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` };
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  throw Object.assign(new Error((await answer.text()).trim()), { status: answer.status });
}

/** Return what is answered in JSON. */
export async function ask(path, options) {
  return (await request(path, options)).json();
}

/** Give an order; return what is said to it. */
export function order(verb, fields) {
  const headers = { "Content-Type": "application/json" };
  return ask(`orders/${verb}`, { method: "POST", headers, body: JSON.stringify(fields) });
}

/** Yield what a stream of server-sent events says, until it ends. */
export async function* follow(path, signal) {
  const { body } = await request(path, { signal });
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) yield JSON.parse(event.slice("data: ".length));
  }
}
