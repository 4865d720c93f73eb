// Calls to the hub's API, and texts in the page's language.

// A text of the catalogue with its {name}s filled in.
export function t(text, values = {}) {
  const said = window.jhdata.texts?.[text] ?? text;
  return said.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

function showError(text) {
  const dialog = document.getElementById("error-dialog");
  dialog.querySelector(".ajax-error").textContent = text;
  dialog.showModal();
}

// Calls the API; on an error throws one that says why.
export async function call(method, path, body) {
  const url = new URL(path, new URL(window.jhdata.base_url + "api/", location.origin));
  url.searchParams.set("_xsrf", window.jhdata.xsrf_token);
  const options = { method, headers: { "Content-Type": "application/json" } };
  if (body !== undefined) options.body = JSON.stringify(body);
  let text = t("The hub does not answer. Check your connection and try again.");
  try {
    const response = await fetch(url, options);
    if (response.ok) return response;
    const answer = await response.json().catch(() => ({}));
    const message = answer.message ?? response.statusText;
    text = t("API request failed ({status}): {message}", { status: response.status, message });
  } catch {
    // The text above says it.
  }
  throw new Error(text);
}

// The same, and shows the error to the person.
export async function api(method, path, body) {
  try {
    return await call(method, path, body);
  } catch (error) {
    showError(error.message);
    throw error;
  }
}
