// Talks to the server: the token comes in the address, and stays in this tab.

const found = new URLSearchParams(location.hash.slice(1)).get("token");
if (found) {
  sessionStorage.setItem("token", found);
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("token") ?? "";

export class Refused extends Error {
  constructor(status, answer) {
    super(answer.error ?? `the server answered ${status}`);
    this.status = status;
    this.answer = answer;
  }
}

// The answer as an object; raises Refused where the server says no, TypeError where it is gone.
export async function ask(method, path, body, headers = {}) {
  const sent = { "X-Placewise-Token": token, ...headers };
  if (method !== "GET") sent["Content-Type"] = "application/json";
  const text = method === "GET" ? undefined : JSON.stringify(body ?? {});
  const answer = await fetch(`api/${path}`, { method, headers: sent, body: text });
  const content = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, content);
  return content;
}

export async function pixels(id) {
  const headers = { "X-Placewise-Token": token };
  const answer = await fetch(`api/images/${id}/pixels`, { headers });
  if (!answer.ok) throw new Refused(answer.status, await answer.json());
  return createImageBitmap(await answer.blob());
}
