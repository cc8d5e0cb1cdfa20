// Questions to the server, which may be busy, away for a moment, or ask for a token.
export const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

// Ask until there is an answer. Gives { value }, { error: what is wrong with the question }, or { missing: true };
// `told` hears { text } of what keeps it from being answered, and { text: "" } once that is over.
export async function ask(address, options, told) {
  for (let wait = 1; ; wait = Math.min(2 * wait, 15)) {
    let answer = null;
    let content = null;
    try {
      answer = await fetch(address, options);
      content = await answer.json();
    } catch (failure) {
      if (options.signal?.aborted) return { error: "" };
      if (answer?.ok === false) content = {};
      else if (failure instanceof SyntaxError) {
        return { error: "something else answers in place of the server, as a sign-in would; load the page again" };
      } else {
        told({ text: "No connection to the server. What you see stays; trying again…" });
        await pause(wait);
        continue;
      }
    }
    const message = content?.error?.message ?? `the server answers ${answer.status}`;
    if (answer.status === 503 || answer.status === 502) {
      const after = Math.min(30, Number(answer.headers.get("retry-after")) || wait);
      told({ text: `The server cannot answer now (${message}). Trying again in ${after} s…` });
      await pause(after);
      if (options.signal?.aborted) return { error: "" };
      continue;
    }
    if (answer.status === 401) {
      told({ text: "The server asks for a token. What you see stays.", locked: true });
      return { error: "a token is needed" };
    }
    told({ text: "" });
    if (answer.status === 404) return { missing: true, error: message };
    return answer.ok ? { value: content } : { error: message };
  }
}
